// Holds an AsyncAPI document on standard input to its specification. Prints what is wrong with it, and ends with 1 if anything is.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(0, "utf8"));
// Errors and warnings; what is only recommended, such as a licence, is not asked of a catalog.
const wrong = diagnostics.filter((diagnostic) => diagnostic.severity <= 1);
wrong.forEach(({ code, message, path }) => console.log(`${code} at ${path.join("/")}: ${message}`));
if (document === undefined || wrong.length > 0) process.exit(1);
const messages = document.allMessages().all();
console.log(`${document.allChannels().all().length} channels, ${messages.length} messages, ${document.allOperations().all().length} operations`);
