import { defineConfig } from "vitest/config";

// Tests run from the sources (`sojourn-source` condition of the export maps), so a forgotten build cannot test yesterday's code.
// `.e2e.test` files start real processes from `dist`; `npm test` builds first.
const FILES = "{packages,apps,examples}/*/{src,test}/**/*";

export default defineConfig({
  resolve: { conditions: ["sojourn-source"] },
  ssr: { resolve: { conditions: ["sojourn-source"] } },
  test: {
    testTimeout: 30_000,
    hookTimeout: 30_000,
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          setupFiles: ["tools/seed.setup.ts"],
          include: [`${FILES}.test.ts`, "{tools,lab}/**/*.test.ts"],
          exclude: ["**/*.e2e.test.ts", "**/node_modules/**", "**/dist/**"],
          maxWorkers: 2,
        },
      },
      {
        extends: true,
        test: {
          name: "e2e",
          exclude: ["**/node_modules/**", "**/dist/**"],
          include: [`${FILES}.e2e.test.ts`, "{tools,lab}/**/*.e2e.test.ts"],
          // One file at a time: on two cores, processes under test must not wait for each other's tests.
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
