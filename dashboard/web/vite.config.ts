import { defineConfig } from "vite";

// The page is served by `flamebus serve` from dashboard/static; in development Vite proxies the API to it.
export default defineConfig({
  base: "./",
  build: { outDir: "../static", emptyOutDir: true, target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  server: { proxy: { "/api": "http://127.0.0.1:4040" } },
});
