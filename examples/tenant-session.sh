#!/bin/sh
# A session with tenants and keys: an operator makes a tenant, its administrator makes a publisher that is limited to order.*, a
# consumer that is limited to one subscription and an auditor; each does what it may and is refused what it may not; at the end the
# audit trails tell all of it. Ends with 0 if everything went as it should.
#
#   quipu key create operator --may operate --may audit --tenant system --data DIR   # while no server uses DIR
#   QUIPU_URL=http://127.0.0.1:7070 QUIPU_KEY=qp_system_… examples/tenant-session.sh
set -eu
: "${QUIPU_URL:?expected the address of a server}" "${QUIPU_KEY:?expected the key of an operator who may audit}"
operator="$QUIPU_KEY"
tenant="${1:-acme}"

# Runs a command with a key; no key is ever an argument.
as() {
    key="$1"
    shift
    QUIPU_KEY="$key" quipu "$@"
}

# Expects that a command with a key is refused with this code.
refused() {
    code="$1" key="$2"
    shift 2
    if said="$(as "$key" "$@" 2>&1)"; then
        echo "expected the refusal $code of: quipu $*" >&2
        exit 1
    fi
    case "$said" in
    *"[$code]"*) echo "refused, $code: quipu $*" ;;
    *)
        echo "expected the refusal $code of quipu $*, found: $said" >&2
        exit 1
        ;;
    esac
}

publish() { echo "event publish --source /shop --type $1 --subject order/1 --data {}"; }

admin="$(as "$operator" tenant create "$tenant" --events-per-second 1000)"
manager="$(as "$admin" key create manager --may manage --may observe)"
publisher="$(as "$admin" key create publisher --may publish --type 'order.*')"
consumer="$(as "$admin" key create consumer --may consume --subscription billing)"
auditor="$(as "$admin" key create auditor --may audit)"
as "$manager" subscription create billing --start beginning
as "$manager" subscription create mail --start beginning

# shellcheck disable=SC2046
as "$publisher" $(publish order.placed)
as "$consumer" subscription pull billing --ack

# shellcheck disable=SC2046
refused forbidden "$publisher" $(publish user.named)
refused forbidden "$publisher" event list
# shellcheck disable=SC2046
refused forbidden "$consumer" $(publish order.placed)
refused forbidden "$consumer" subscription pull mail
refused forbidden "$consumer" key list
refused forbidden "$auditor" key create mine --may read
refused forbidden "$admin" tenant list
refused forbidden "$admin" audit list

as "$operator" tenant suspend "$tenant" --reason "the session ends"
# shellcheck disable=SC2046
refused tenant-suspended "$publisher" $(publish order.placed)
as "$operator" tenant resume "$tenant"

echo
echo "the trail of $tenant:"
as "$auditor" audit list --direction forward --limit 1000
echo
echo "the trail of the operators:"
as "$operator" audit list --direction forward --limit 1000
