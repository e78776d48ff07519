/** All protocol cases, in the order of the table. */
import type { ProtocolCase } from "./case.test.support.ts";
import { FAILURES } from "./failure.test.support.ts";
import { FORWARDING } from "./forwarding.test.support.ts";
import { FRAMING } from "./framing.test.support.ts";
import { RESPONSES } from "./response.test.support.ts";
import { STICKY } from "./sticky.test.support.ts";
import { TARGETS } from "./target.test.support.ts";
import { UPGRADES } from "./upgrade.test.support.ts";

export const CASES: readonly (readonly [group: string, cases: readonly ProtocolCase[]])[] = [
  ["Framing", FRAMING],
  ["Method, target, Host, sizes", TARGETS],
  ["Fields", FORWARDING],
  ["Responses", RESPONSES],
  ["Failing servers, slow clients", FAILURES],
  ["Upgrades", UPGRADES],
  ["Affinity and operation", STICKY],
];
