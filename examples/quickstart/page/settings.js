/** Language, theme, and where the router sends this browser. */
import { byId, setText } from "./dom.js";
import { label, say, translate } from "./words.js";

const AFFINITY_COOKIE = "sojourn-affinity";

export function startLanguage(changed) {
  for (const input of document.querySelectorAll("input[name=language]")) {
    input.checked = input.value === document.documentElement.lang;
    input.addEventListener("change", () => {
      document.documentElement.lang = input.value;
      keep("sojourn-language", input.value);
      translate();
      changed();
    });
  }
  translate();
}

export function startTheme() {
  byId("theme").addEventListener("click", () => {
    const { dataset } = document.documentElement;
    const dark = dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    dataset.theme = dark === "dark" ? "light" : "dark";
    keep("sojourn-theme", dataset.theme);
  });
}

/** The router reads the choice from a cookie; without one it follows its own affinity. */
export function startAffinity() {
  for (const input of affinityInputs()) {
    input.addEventListener("change", () => {
      const value = input.value === "none" ? "none; max-age=86400" : "; max-age=0";
      // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store API is not everywhere yet
      document.cookie = `${AFFINITY_COOKIE}=${value}; path=/; samesite=lax`;
      showAffinity(null);
    });
  }
}

let fixed = false;

/** @param strategy  null: as before */
export function showAffinity(strategy) {
  if (strategy !== null) fixed = strategy === "none";
  const chosen = fixed || document.cookie.split("; ").includes(`${AFFINITY_COOKIE}=none`) ? "none" : "sticky";
  for (const input of affinityInputs()) {
    input.checked = input.value === chosen;
    input.disabled = fixed;
  }
  label(byId("affinity-hint"), fixed ? "hint.fixed" : `hint.${chosen}`);
}

/** @param store  `host:port` of what is no process of this page, or null */
export function showStrategy(strategy, store) {
  label(byId("strategy-name"), `strategy.${strategy}`);
  label(byId("strategy-sentence"), `sentence.${strategy}`, { store });
  setText(document.querySelector("title"), `Sojourn · ${say(`strategy.${strategy}`)}`);
}

const affinityInputs = () => document.querySelectorAll("input[name=affinity]");

function keep(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // A browser that keeps nothing still shows what was chosen.
  }
}
