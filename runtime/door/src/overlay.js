// Shows over a page what keeps its room from working: a mistake of the last build, or a fault of the
// code that serves. It goes by itself when the next build is good. In production this file is empty.
(() => {
  "use strict";
  const own = document.currentScript ? document.currentScript.src : location.href;
  let host;

  const remove = () => {
    if (host) host.remove();
    host = undefined;
  };

  const show = ({ title, text }) => {
    remove();
    host = document.createElement("room-overlay");
    const root = host.attachShadow({ mode: "open" });
    const add = (parent, name, css, content) => {
      const element = document.createElement(name);
      element.style.cssText = css;
      // Text, never HTML: it quotes sources and what rooms said.
      if (content) element.textContent = content;
      parent.append(element);
      return element;
    };
    const back = add(root, "div", "position:fixed;inset:0;z-index:2147483647;overflow:auto;" +
      "box-sizing:border-box;padding:clamp(1rem,5vw,4rem);background:rgba(12,14,18,.72)");
    const box = add(back, "section", "max-width:70rem;margin:0 auto;padding:1.5rem;border-radius:.5rem;" +
      "border-top:.4rem solid #e5484d;background:#16181d;color:#edeef0;box-shadow:0 1rem 4rem #000");
    box.setAttribute("role", "alert");
    add(box, "h1", "margin:0 0 1rem;font:600 1.1rem system-ui,sans-serif;color:#ff9592", title);
    add(box, "pre", "margin:0;font:.85rem/1.5 ui-monospace,monospace;white-space:pre-wrap;" +
      "overflow-wrap:anywhere", text);
    add(box, "p", "margin:1rem 0 0;font:.85rem system-ui,sans-serif;color:#a0a4ab",
      "The last good code keeps serving. This goes when the next build is good; Escape hides it.");
    document.documentElement.append(host);
  };

  addEventListener("keydown", (event) => {
    if (event.key === "Escape") remove();
  });
  const events = new EventSource(new URL("overlay", own));
  events.addEventListener("message", ({ data }) => {
    const notice = JSON.parse(data);
    if (notice) show(notice);
    else remove();
  });
  // The page's own files were replaced.
  events.addEventListener("page", () => location.reload());
})();
