/** `sojourn session show`: one session; values only when asked for, because they are the visitor's. */
import type { Command } from "commander";
import { type SessionRecord, sealedWith } from "sojourn/store";
import { bytesText, durationText } from "../../numbers.ts";
import { printable, table } from "../../printable.ts";
import { type StoreOptions, storeOptions, withStore } from "../../store-url.ts";
import { findKey, noSuchSession } from "./key.ts";

/** First of all values that this library's codec wrote; JSON follows. */
const JSON_CODEC_BYTE = 1;

interface ShowOptions extends StoreOptions {
  readonly values?: true;
  readonly json?: true;
}

export function registerShow(session: Command): void {
  storeOptions(session.command("show"))
    .argument("<key>", "the session's key or its beginning")
    .description("show one session: times, owner, and its attributes' names and sizes")
    .option("--values", "show values too: they are the visitor's, so have a reason")
    .option("--json", "the same as JSON")
    // One key in 64 begins with a dash.
    .allowUnknownOption()
    .action((key: string, options: ShowOptions) => show(key, options));
}

async function show(typed: string, options: ShowOptions): Promise<void> {
  await withStore(options, async (store) => {
    const key = await findKey(store, typed);
    const record = await store.read(key);
    if (record?.state !== "live") throw noSuchSession(key);
    process.stdout.write(
      options.json ? `${JSON.stringify(asJson(record, options), null, 2)}\n` : asText(record, options),
    );
  });
}

function asText(record: SessionRecord, { values }: ShowOptions): string {
  const nowMs = Date.now();
  const at = (ms: number) => {
    const distance = durationText(Math.abs(ms - nowMs));
    return `${new Date(ms).toISOString()}  ${ms <= nowMs ? `${distance} ago` : `in ${distance}`}`;
  };
  const rows = [
    ["key", record.key],
    ["principal", record.principal === null ? "–" : printable(record.principal)],
    ["created", at(record.createdAtMs)],
    ["last activity", at(record.touchedAtMs)],
    ["ends when idle", at(record.expiresAtMs)],
    ["ends at latest", at(record.absoluteExpiresAtMs)],
    ["attributes", record.attributes.size === 0 ? "none" : String(record.attributes.size)],
  ];
  const attributes = [...record.attributes].map(([name, { value }]) => [
    `  ${printable(name)}`,
    bytesText(value.byteLength),
    values ? printable(valueText(value)) : (encryption(value) ?? ""),
  ]);
  return table(rows) + table(attributes);
}

function asJson(record: SessionRecord, { values }: ShowOptions): object {
  const at = (ms: number) => new Date(ms).toISOString();
  return {
    key: record.key,
    principal: record.principal,
    createdAt: at(record.createdAtMs),
    touchedAt: at(record.touchedAtMs),
    expiresAt: at(record.expiresAtMs),
    absoluteExpiresAt: at(record.absoluteExpiresAtMs),
    attributes: [...record.attributes].map(([name, { value }]) => ({
      name,
      bytes: value.byteLength,
      ...(sealedWith(value) ? { encryptedWith: sealedWith(value)?.keyId } : {}),
      ...(values && value[0] === JSON_CODEC_BYTE ? { value: JSON.parse(stored(value)) } : {}),
    })),
  };
}

/** As it is stored: JSON, in which a Date is `{"$t":"Date","v":…}`. */
function valueText(value: Uint8Array): string {
  if (value[0] === JSON_CODEC_BYTE) return stored(value);
  return encryption(value) ?? "written by a codec that this command does not know";
}

function stored(value: Uint8Array): string {
  return Buffer.from(value.subarray(1)).toString("utf8");
}

function encryption(value: Uint8Array): string | undefined {
  const sealed = sealedWith(value);
  return sealed ? `encrypted with key ${sealed.keyId}` : undefined;
}
