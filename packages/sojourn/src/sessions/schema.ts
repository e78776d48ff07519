/**
 * Checks attributes against a schema of the session's data: Zod, Valibot, ArkType, anything that speaks Standard Schema.
 *
 * Decided here:
 * - **One attribute at a time**, as it is set: issues count whose path begins with its name. Rules that compare attributes
 *   are not checked, because requests change attributes independently and no moment sees them all.
 * - **A check, not a conversion**: what is stored is the value as it was set. Transforms and defaults are not applied; so
 *   use schemas whose output is their input.
 * - **A stored value that no longer fits reads as absent**, and is told once a minute. It stays in the store until it is
 *   set or deleted: a release that tightened its schema must neither fail every visitor of the old one nor destroy what a
 *   roll-back needs.
 * - No message holds a value, and none of the schema's own messages, which often do.
 */
import type { Codec } from "../core/codec.ts";
import { SessionError } from "../core/errors.ts";
import { invalidOption } from "./check-options.ts";
import type { Diagnostics } from "./diagnostics.ts";

/** The part of Standard Schema v1 that is used: https://standardschema.dev. Every schema library's objects have it. */
export interface StandardSchema<Output = unknown> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** Exists for the compiler only. */
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
  };
}

export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What a schema's values are. */
export type SchemaOutput<S extends StandardSchema> = NonNullable<S["~standard"]["types"]>["output"];

/** A stored value that the schema refuses. */
export const REFUSED: unique symbol = Symbol("sojourn.refused");

/** A codec that knows which attribute it decodes, and may answer REFUSED. */
export interface ValueCodec extends Pick<Codec, "encode"> {
  decode(bytes: Uint8Array, attribute: string): unknown;
  readonly mayRefuse?: boolean;
}

/** How many issues a message tells of. */
const PATHS_MAX = 3;
const PATH_CHARS_MAX = 80;

/** @throws {SessionError} INVALID_OPTION when `schema` is none, or can only be asked asynchronously */
export function checkedCodec(codec: Codec, schema: StandardSchema, diagnostics: Diagnostics): ValueCodec {
  const standard = (schema as Partial<StandardSchema> | null)?.["~standard"];
  if (standard?.version !== 1 || typeof standard.validate !== "function") {
    throw invalidOption("schema", schema, "an object of a library that speaks Standard Schema 1");
  }
  pathsOf(schema, {}, "");
  return {
    mayRefuse: true,
    encode(value, attribute) {
      const paths = pathsOf(schema, { [attribute]: value }, attribute);
      if (paths === undefined) return codec.encode(value, attribute);
      throw new SessionError(
        "INVALID_VALUE",
        `Cannot set attribute ${JSON.stringify(attribute.slice(0, PATH_CHARS_MAX))}: the schema refuses ${paths}`,
      );
    },
    decode(bytes, attribute) {
      const value = codec.decode(bytes);
      const paths = pathsOf(schema, { [attribute]: value }, attribute);
      if (paths === undefined) return value;
      diagnostics.report(
        "STORED_VALUE_REFUSED",
        `a stored attribute does not fit the schema any more and reads as absent: it refuses ${paths}. ` +
          "It stays stored until it is set or deleted",
      );
      return REFUSED;
    },
  };
}

/** Where the schema finds fault with the attribute: "cart.items[3].price, cart.total", or undefined. */
function pathsOf(schema: StandardSchema, data: object, attribute: string): string | undefined {
  const result = schema["~standard"].validate(data);
  if (result instanceof Promise) {
    // Its failure is not of interest, and must not end the process.
    result.catch(() => {});
    throw invalidOption("schema", schema, "a schema without asynchronous checks: `set` answers at once");
  }
  const paths = (result.issues ?? [])
    .map((issue) => (issue.path ?? []).map((step) => (typeof step === "object" ? step.key : step)))
    .filter(([first]) => first === attribute)
    .map(pathText);
  if (paths.length === 0) return undefined;
  const more = paths.length > PATHS_MAX ? ` and ${paths.length - PATHS_MAX} more` : "";
  return paths.slice(0, PATHS_MAX).join(", ") + more;
}

/** Keys come from the stored data, too: only such as look like names are shown. */
function pathText(path: readonly PropertyKey[]): string {
  const text = path
    .map((key, index) => {
      if (typeof key === "number" || /^\d{1,9}$/.test(String(key))) return `[${String(key)}]`;
      const name = index === 0 || /^[A-Za-z_$][\w$]{0,39}$/.test(String(key)) ? String(key) : "…";
      return index === 0 ? name : `.${name}`;
    })
    .join("");
  return text.slice(0, PATH_CHARS_MAX);
}
