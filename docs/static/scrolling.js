// A table that is wider than the page can be scrolled with the keyboard too.
function focusable() {
  for (const box of document.querySelectorAll(".table-wrapper, article pre")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
addEventListener("load", focusable);
addEventListener("resize", focusable);
