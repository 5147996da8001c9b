// What a person does with a page, in a hurry: the test puts this at the page's end.
const press = (key, on = document.body) => on.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const point = (canvas, type, x, y, buttons = 0) => canvas.dispatchEvent(new PointerEvent(type, { clientX: x, clientY: y, buttons, bubbles: true }));
window.addEventListener("load", () => {
  for (const key of ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "PageUp", "PageDown", "Home", "End", "+", "-", ",", ".", "n", "n", "p",
    "s", "[", "]", "0", " ", " ", "k"]) press(key);
  for (const canvas of document.querySelectorAll("main canvas, footer canvas")) {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    for (let step = 0; step < 60; step++) point(canvas, "pointermove", left + width * ((step * 0.37) % 1), top + height * ((step * 0.61) % 1));
    canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -120, ctrlKey: true, bubbles: true, cancelable: true }));
    canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: 120, shiftKey: true, bubbles: true, cancelable: true }));
    point(canvas, "pointermove", left + 200, top + 200, 1);
    point(canvas, "pointerleave", 0, 0);
  }
  const find = document.getElementById("find");
  for (const text of find ? ["lost", "n1", "put", "no such thing", ""] : []) {
    find.value = text;
    find.dispatchEvent(new Event("input", { bubbles: true }));
    press("Enter", find);
    if (text === "put") document.documentElement.dataset.found = String(parseInt(document.getElementById("found").textContent.replace(/,/g, ""), 10));
  }
  for (const chip of document.querySelectorAll(".chip")) { chip.click(); if (chip.matches(":nth-child(odd)")) chip.click(); }
  for (const button of document.querySelectorAll("button.tool, #verdict:enabled, #broken button")) button.click();
  dispatchEvent(new Event("resize"));
  document.documentElement.dataset.handled = "1";
});
