// Pages read without this. It adds a button that copies each command.
"use strict";
function addButtons() {
  for (const block of document.querySelectorAll("pre[data-copy]:only-child")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy the command");
    button.addEventListener("click", async () => {
      const text = block.querySelector("code").textContent.trim();
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        // Browsers give the clipboard to secure pages alone: select the text, so that a key copies it.
        getSelection().selectAllChildren(block.querySelector("code"));
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    block.parentElement.append(button);
  }
}
addButtons();
document.addEventListener("shown", addButtons);
