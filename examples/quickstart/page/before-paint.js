// Runs before the first paint, so that neither the theme nor the language flickers. Everything else is a module.
const root = document.documentElement;
const kept = (name) => {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
};
root.lang = kept("sojourn-language") ?? (navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en");
const theme = kept("sojourn-theme");
if (theme === "light" || theme === "dark") root.dataset.theme = theme;
