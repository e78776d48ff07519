import { defineConfig } from "vitest/config";

// Unit and property tests run from the sources (`source` condition of the export maps), so a forgotten build cannot
// test yesterday's code. `.e2e.test` files start real processes and therefore need `dist`; `npm test` builds first.
export default defineConfig({
  resolve: { conditions: ["source"] },
  ssr: { resolve: { conditions: ["source"] } },
  test: {
    include: ["{packages,apps,examples}/*/{src,test}/**/*.test.ts", "tools/**/*.test.ts"],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // Two cores: more workers only make timing-sensitive servers wait for each other.
    maxWorkers: 2,
  },
});
