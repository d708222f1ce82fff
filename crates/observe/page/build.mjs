// Makes the page's files: `node build.mjs [FOLDER]`, `dist` if none is named. Equal sources give equal files.

import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const page = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(page, "dist");
mkdirSync(out, { recursive: true });
const licence = readFileSync(join(page, "node_modules/uplot/LICENSE"), "utf8").trim();
await build({
  absWorkingDir: page,
  entryPoints: { page: "src/main.ts" },
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  footer: { js: `/* uPlot is part of this file.\n${licence}\n*/` },
  logLevel: "warning",
});
for (const file of ["index.html", "icon.svg"]) copyFileSync(join(page, "src", file), join(out, file));
