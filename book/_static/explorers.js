// Draws the explorers of a built page, with no kernel and nothing from another host: their state and their
// JavaScript (an anywidget's ESM) stand in the page, where Jupyter saved them.
(() => {
  const STATE = 'script[type="application/vnd.jupyter.widget-state+json"]';
  const VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]';

  // What an anywidget expects of its model, as far as it can be had without a kernel.
  function frozenModel(state) {
    const listeners = {};
    return {
      frozen: true,
      get: (name) => state[name],
      set(name, value) {
        state[name] = value;
        for (const f of listeners[`change:${name}`] || []) f();
      },
      save_changes() {},
      send() {},
      on: (name, f) => (listeners[name] ||= []).push(f),
      off: (name, f) => { listeners[name] = (listeners[name] || []).filter((g) => g !== f); },
    };
  }

  async function draw() {
    const states = {}, modules = {}, styles = new Set();
    for (const script of document.querySelectorAll(STATE)) Object.assign(states, JSON.parse(script.textContent).state);
    for (const script of document.querySelectorAll(VIEW)) {
      const state = states[JSON.parse(script.textContent).model_id]?.state;
      if (!state?._esm || script.dataset.drawn) continue;
      script.dataset.drawn = "yes";
      if (state._css && !styles.has(state._css)) {
        styles.add(state._css);
        document.head.append(Object.assign(document.createElement("style"), { textContent: state._css }));
      }
      const url = () => URL.createObjectURL(new Blob([state._esm], { type: "text/javascript" }));
      const module = await (modules[state._esm] ||= import(url()));
      const el = document.createElement("div");
      script.after(el);
      await (module.default?.render || module.render)({ model: frozenModel(state), el });
    }
    document.documentElement.dataset.explorers = "drawn";
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", draw);
  else draw();
})();
