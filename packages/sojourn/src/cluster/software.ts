/** What this release calls itself in hellos and status pages. Kept equal to package.json by a test. */
export const SOFTWARE = "0.1.0";
