/**
 * Ways in which stores go wrong, each seen in some driver or near miss, and the case of the conformance suite that
 * catches it. A case without a mistake here is not proven to be able to fail: add one.
 */
export const MISTAKES = {
  "apply creates": "apply on a session that is not there answers gone and creates nothing",
  "apply in two steps": "a commit is atomic: what was written together is always read together",
  "apply writes back the whole record": "parallel deltas on different attributes all survive",
  "apply moves the deadline back": "touch() and apply() never move the deadline back",
  "touch revives":
    "nothing revives an expired session: apply is gone, touch false, supersede gone, destroy false",
  "touch moves back": "touch() and apply() never move the deadline back",
  "touch makes a version":
    "touch() moves the idle deadline and the time of the last activity, and nothing else",
  "create overwrites": "create() refuses a taken key and leaves what is there",
  "operation ids ignored": "a repeated apply gives the first answer and does not undo a later write",
  "only apply is remembered":
    "a repeated create gives the first answer, also after a later write and after the session ended",
  "only the last 100 operation ids are kept":
    "operation ids are remembered for at least 10000 ms, however many writes follow",
  "conflicts are not remembered":
    "a repeated apply that conflicted conflicts again with the same state, even if it would hold now",
  "expectations before operation ids":
    "the operation id is looked up before expectations: a repeated conditional write is no conflict",
  "expectations ignored": "an expectation that fails answers the current state and changes nothing",
  "conflict without the current state":
    "an expectation that fails answers the current state and changes nothing",
  "answers the version before":
    "the version in an answer is the one read afterwards, and names the commit in each attribute it wrote",
  "atLeast ignored":
    "apply answers behind when the store lacks the write the browser has seen, and changes nothing",
  "gone one millisecond late": "a session is there until its idle deadline and gone from it on",
  "absolute deadline ignored":
    "a session is there until its absolute deadline and gone from it on, whatever touched it",
  "deadlines on the wall clock": "stepping the wall clock neither ends a session nor prolongs it",
  "destroy is not final":
    "nothing revives a destroyed session: create is taken, apply gone, touch false, supersede gone",
  "destroy always says true": "of parallel destroys exactly one says that it ended the session",
  "the end of an unknown key is forgotten":
    "destroying an unknown key is remembered: it cannot be created afterwards",
  "an end lives as long as the session": "an end outlives the deadlines of what it ended",
  "superseded ids still write":
    "supersede() returns the final state and refuses later writes under the old id",
  "superseded shows its successor":
    "a superseded id answers reads with its snapshot, never with its successor",
  "superseded ids outlive their successor":
    "a superseded id dies with its successor, created or not, through any number of renewals",
  "superseded ids are listed": "superseded sessions are neither listed nor counted",
  "grace 0 is the default": "grace 0 ends the old id at once, and still returns its final state",
  "superseding again prolongs the grace": "superseding an id again does not prolong its grace",
  "undelivered successors live on":
    "superseding an id again starts from the same snapshot and ends the successor nobody came back with",
  "delivered successors end": "superseding an id again leaves a successor alone whose browser has come back",
  "its own buffers are handed out":
    "records and arguments are the caller's: changing them changes nothing in the store",
  "callers' buffers are kept":
    "records and arguments are the caller's: changing them changes nothing in the store",
  "names pass through an object":
    "hostile names are names like any other: every Unicode plane, __proto__, empty, 8 KB",
  "names are normalised":
    "hostile names are names like any other: every Unicode plane, __proto__, empty, 8 KB",
  "values pass through text": "values are bytes: every byte, none, and what no text encoding survives",
  "long values are cut": "a value of 1 MB comes back whole, by create and by apply",
  "pages by offset":
    "paging through very many sessions under change lists each that lived throughout exactly once",
  "endAll misses logins under way":
    "no interleaving of endAll() with a login that began before it leaves a session of the principal",
  "endAll forgets superseded ids": "endAll() also ends what superseded ids of the principal still show",
  "endAll spares nobody": "endAll() leaves the excepted session alone, and what it wrote and writes",
  "a refused login's session lives on":
    "a login that began before endAll and commits after it is gone, with the session it was made in",
  "watch forgets ends": "a watch is told of destroy, and what is read then is the change",
  "a closed watch is still told": "a closed watch is told nothing more, and others still are",
  "evicts when full": "a full store refuses create with STORE_FULL, and evicted nobody before it did",
  "a full store refuses shrinking": "a full store refuses growing writes whole, and takes shrinking ones",
  "aborted signals ignored": "a call with an aborted signal rejects and does nothing",
  "close hangs": "close() while busy settles every call, and later calls reject with STORE_CLOSED",
  "works after close": "close() while busy settles every call, and later calls reject with STORE_CLOSED",
  "unknown keys read as empty sessions": "read() of an unknown key is null",
  "empty sessions are not kept": "a session created without attributes or principal is there, and began now",
  "at most 512 attributes are kept": "1,000 attributes come back whole, and each can be changed alone",
  "principals are trimmed": "hostile principals are principals like any other",
  "apply leaves the principal": "apply changes the principal, and leaves it when the delta names none",
  "apply leaves the deadline":
    "apply() moves the deadline with the commit, and leaves it when the delta names none",
  "touch creates": "touch() on a session that is not there is false and creates nothing",
  "supersede creates": "supersede() of a session that is not there is gone",
  "superseded ids cannot be destroyed": "destroying a superseded id ends its snapshot too",
  "endAll bars the principal for good":
    "a login that began after endAll lives, and another principal's does anyway",
  "any limit goes": "list() refuses a limit outside 1..1000",
  "pages repeat their last session": "pages of any size list each session exactly once",
  "only principals of the beginning are found": "list() and count() by principal know who owns a session now",
  "watch forgets apply": "a watch is told of apply, and what is read then is the change",
  "watch forgets its own apply": "a watch is told of its own handle's changes too",
  "watch forgets touch": "a watch is told of touch, and what is read then is the change",
  "watch forgets supersede": "a watch is told of supersede, and what is read then is the change",
  "watch tells one in two applies": "copies kept on a watch's word become as new as the store",
} as const;

export type Mistake = keyof typeof MISTAKES;
