import { expect, test } from "vitest";
import { affinityAddress, clientAddress, plainAddress, trustedProxies } from "./address.ts";

const trusts = trustedProxies(["10.0.0.0/8", "192.0.2.1", "fd00::/8"]);

test("ranges and single addresses are trusted, nothing beside them", () => {
  for (const address of ["10.1.2.3", "192.0.2.1", "fd12::1"]) expect(trusts(address), address).toBe(true);
  for (const address of ["11.0.0.1", "192.0.2.2", "fe80::1", "", "x"])
    expect(trusts(address), address).toBe(false);
  expect(trustedProxies([])("127.0.0.1")).toBe(false);
});

test("what is no range is refused when the router starts", () => {
  for (const cidr of ["", "ten", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8/8", "fd00::/129", "10.0.0.0/-1"]) {
    expect(() => trustedProxies([cidr]), cidr).toThrow(/Cannot trust proxy/);
  }
});

test("the client is the rightmost address that we do not trust", () => {
  const cases: [string, string, string][] = [
    ["203.0.113.9", "1.1.1.1", "203.0.113.9"],
    ["10.0.0.1", "", "10.0.0.1"],
    ["10.0.0.1", "203.0.113.9", "203.0.113.9"],
    ["10.0.0.1", "6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"],
    ["10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"],
    ["10.0.0.1", "203.0.113.9, nonsense", "10.0.0.1"],
    ["10.0.0.1", "203.0.113.9:4711", "203.0.113.9"],
    ["fd00::1", "[2001:db8::7]:443", "2001:db8::7"],
    ["10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"],
  ];
  for (const [peer, forwarded, client] of cases) {
    expect(clientAddress(peer, forwarded, trusts), `${peer} < ${forwarded}`).toBe(client);
  }
});

test("IPv4 on an IPv6 socket is IPv4, and zones are no part of an address", () => {
  expect(plainAddress("::ffff:10.0.0.1")).toBe("10.0.0.1");
  expect(plainAddress("fe80::1%eth0")).toBe("fe80::1");
  expect(plainAddress(undefined)).toBe("");
});

test("an IPv6 client is its /64, however it is written", () => {
  expect(affinityAddress("2001:db8:1:2:3:4:5:6")).toBe("2001:db8:1:2::/64");
  expect(affinityAddress("2001:0DB8:1:2::9")).toBe("2001:db8:1:2::/64");
  expect(affinityAddress("2001:db8::1")).toBe("2001:db8:0:0::/64");
  expect(affinityAddress("::1")).toBe("0:0:0:0::/64");
  expect(affinityAddress("203.0.113.9")).toBe("203.0.113.9");
});
