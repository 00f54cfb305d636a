// Holds a SARIF log on standard input to the schema of SARIF 2.1.0. Prints what is wrong with it, and ends with 1 if anything is.
import { readFileSync } from "node:fs";
import Ajv from "ajv";

const schema = new URL("node_modules/@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json", import.meta.url);
const json = (path) => JSON.parse(readFileSync(path, "utf8"));
const draft = json(new URL("node_modules/ajv/lib/refs/json-schema-draft-04.json", import.meta.url));
const check = new Ajv({ allErrors: true, schemaId: "id", meta: draft, logger: false }).compile(json(schema));
if (!check(json(0))) {
  check.errors.forEach(({ dataPath, message }) => console.log(`${dataPath || "the log"}: ${message}`));
  process.exit(1);
}
