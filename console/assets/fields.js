// The fields of a message beside its text: who chooses a part of one sees its place in the other.
const tree = document.querySelector(".tree"), text = document.querySelector("pre.segments");

// Which text of a line a part is: [begin, end) of field, repetition, component, subcomponent.
function place(line, at) {
  const marks = text.dataset.marks;
  let [begin, end] = [0, line.length];
  at.slice(1).forEach((number, level) => {
    const header = level === 0 && /^(MSH|FHS|BHS)/.test(line);
    if (header && number === 1) return ([begin, end] = [3, 4]);
    // the name is field 0; a header's first field is its separator, so it has one piece fewer
    const wanted = level === 0 ? number - header : number - 1;
    const pieces = marks[level] ? line.slice(begin, end).split(marks[level]) : [line.slice(begin, end)];
    if (wanted >= pieces.length) return; // masked: the field is one piece
    for (const piece of pieces.slice(0, wanted)) begin += piece.length + 1;
    end = begin + pieces[wanted].length;
  });
  return [begin, end];
}

// The part that stands at a place of a line, as the tree counts: as deep as the text goes there.
function partAt(line, segment, offset) {
  const marks = text.dataset.marks, at = [segment];
  const header = /^(MSH|FHS|BHS)/.test(line);
  let [begin, end] = [0, line.length];
  for (let level = 0; level < 4 && marks[level]; level++) {
    if (header && level > 0 && at[1] <= 2) break;
    const pieces = line.slice(begin, end).split(marks[level]);
    let number = 0;
    while (number < pieces.length - 1 && offset > begin + pieces[number].length) begin += pieces[number++].length + 1;
    end = begin + pieces[number].length;
    at.push(level === 0 ? number + header : number + 1);
  }
  return at;
}

tree?.addEventListener("click", (event) => {
  const chosen = event.target.closest("[data-at]");
  if (!chosen) return;
  if (chosen.nodeName === "A") event.preventDefault(); // what has parts opens and closes, too
  const at = chosen.dataset.at.split("/").map(Number), line = document.getElementById(`segment-${at[0]}`);
  const [begin, end] = place(line.textContent, at);
  line.scrollIntoView({ block: "nearest" });
  getSelection().setBaseAndExtent(line.firstChild, begin, line.firstChild, end);
});

text?.addEventListener("click", () => {
  const chosen = getSelection(), line = chosen.anchorNode?.parentElement?.closest("span[id]");
  if (!chosen.isCollapsed || !line) return; // somebody selects text to copy it
  const at = partAt(line.textContent, Number(line.id.slice("segment-".length)), chosen.anchorOffset);
  for (; at.length; at.pop()) {
    const found = tree.querySelector(`[data-at="${at.join("/")}"]`);
    if (!found) continue;
    for (let one = found.parentElement.closest("details"); one; one = one.parentElement.closest("details")) one.open = true;
    found.scrollIntoView({ block: "nearest" });
    return found.focus({ preventScroll: true });
  }
});
