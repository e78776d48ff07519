import fc from "fast-check";
import { expect, test } from "vitest";
import { firstRanked, hash32, type Ranked, ranked } from "./rendezvous.ts";

const serverSet = (minLength = 1) =>
  fc
    .uniqueArray(fc.string({ minLength: 1, maxLength: 20 }), { minLength, maxLength: 12 })
    .map((ids): Ranked[] => ids.map((id) => ({ id, weight: 1 })));
const keyHash = fc.string().map(hash32);

test("two routers agree, whatever order they know the servers in", () => {
  fc.assert(
    fc.property(serverSet(), keyHash, fc.infiniteStream(fc.nat()), (servers, key, order) => {
      const shuffled = servers
        .map((server) => ({ server, at: order.next().value as number }))
        .sort((a, b) => a.at - b.at)
        .map(({ server }) => server);
      expect(ranked(key, shuffled)).toEqual(ranked(key, servers));
      expect(firstRanked(key, shuffled)).toEqual(ranked(key, servers)[0]);
    }),
  );
});

test("a server that leaves moves only its own keys, each to its next rank", () => {
  fc.assert(
    fc.property(serverSet(2), keyHash, fc.nat(), (servers, key, pick) => {
      const gone = servers[pick % servers.length]!;
      const [first, second] = ranked(key, servers);
      const left = servers.filter((server) => server !== gone);
      expect(firstRanked(key, left)).toEqual(first === gone ? second : first);
    }),
  );
});

test("a server that joins takes keys but moves none between the others", () => {
  fc.assert(
    fc.property(serverSet(2), keyHash, (servers, key) => {
      const [joined, ...before] = servers;
      const after = firstRanked(key, servers);
      if (after !== joined) expect(after).toEqual(firstRanked(key, before));
    }),
  );
});

test("the keys of one lost server spread over all that are left", () => {
  const servers = ["b1", "b2", "b3", "b4", "b5"].map((id) => ({ id, weight: 1 }));
  const counts = new Map<string, number>();
  for (let i = 0; i < 20_000; i++) {
    const [first, second] = ranked(hash32(`session ${i}`), servers);
    if (first!.id === "b1") counts.set(second!.id, (counts.get(second!.id) ?? 0) + 1);
  }
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  // A fifth of the keys, within 4 standard deviations (57 each way), then a quarter of those each.
  expect(Math.abs(total - 4_000)).toBeLessThan(230);
  expect(counts.size).toBe(4);
  for (const count of counts.values()) expect(Math.abs(count / total - 0.25)).toBeLessThan(0.03);
});

test("weight 3 gets three times the keys of weight 1", () => {
  const servers = [
    { id: "small", weight: 1 },
    { id: "large", weight: 3 },
  ];
  let large = 0;
  for (let i = 0; i < 20_000; i++) if (firstRanked(hash32(`s${i}`), servers)!.id === "large") large++;
  expect(large / 20_000).toBeGreaterThan(0.735);
  expect(large / 20_000).toBeLessThan(0.765);
});

test("no servers, no answer", () => {
  expect(firstRanked(1, [])).toBeUndefined();
});
