// The editor of a configuration file: CodeMirror over the form's text field, which stays the one that is sent.
// It lives in a shadow root, where styles need no exception of the content security policy.
import { autocompletion, closeBrackets, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { HighlightStyle, bracketMatching, foldGutter, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { forceLinting, linter, lintGutter, lintKeymap } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { EditorSelection, EditorState } from "@codemirror/state";
import { EditorView, drawSelection, highlightActiveLine, hoverTooltip, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { describe, keysAt, parentsOf, pathAt, takesMapping, textOf, valuesAt } from "./schema.js";

const form = document.getElementById("workshop");
const field = form.elements.text;
const place = document.getElementById("editor");
const file = form.elements.file.value;
const isYaml = /\.ya?ml$/.test(file);
const isChannels = isYaml && /^(#|\s|---)*(include|connections|tables|defaults|fragments|macros|functions|disk|channels)\s*:/m.test(field.value || "channels:");
let schema = null;

async function ask(path, body) {
  const options = { headers: { Accept: "application/json", "X-CSRF-Token": document.querySelector("meta[name=csrf]").content } };
  if (body) Object.assign(options, { method: "POST", body: JSON.stringify(body) }), (options.headers["Content-Type"] = "application/json");
  const answer = await fetch(`/api/v1/configuration/${path}`, options);
  if (answer.status === 401) document.body.dispatchEvent(new Event("session:ended"));
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.detail + (content.todo ? ` (${content.todo})` : ""));
  return content;
}

// Problems: those of this file at their lines, all of them as a list below.
async function problems(view) {
  const list = document.getElementById("problems");
  try {
    const found = (await ask("lint", { edits: { [file]: view.state.doc.toString() } })).problems;
    list.replaceChildren(...(found.length ? [listed(found, view)] : [line("p", "ok", list.dataset.right)]));
    return found.filter((one) => one.file === file).map((one) => {
      const at = view.state.doc.line(Math.min(Math.max(one.line, 1), view.state.doc.lines));
      const from = Math.min(at.from + Math.max(one.column - 1, 0), at.to);
      const word = /^[^\s:,}\]]+/.exec(view.state.sliceDoc(from, at.to));
      const message = `${one.text}.${one.hint ? ` ${one.hint}` : ""} [${one.code}]`;
      return { from, to: Math.min(from + (word ? word[0].length : 1), at.to), severity: one.severity, message };
    });
  } catch (error) {
    list.replaceChildren(line("p", "bad", error.message));
    return [];
  }
}

function line(tag, kind, text) {
  const made = document.createElement(tag);
  made.className = kind;
  made.textContent = text;
  return made;
}

function listed(found, view) {
  const list = line("ul", "problems", "");
  for (const one of found.slice(0, 50)) {
    const item = document.createElement("li");
    const link = line("a", "", `${one.file}:${one.line}:${one.column}`);
    link.href = `/config/edit?file=${encodeURIComponent(one.file)}&at=${one.line}`;
    if (one.file === file) {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        goTo(view, one.line);
      });
    }
    item.append(link, " ", line("strong", one.severity === "error" ? "bad" : "warn", one.severity), ` ${one.text}. ${one.hint} `, line("small", "dim", one.code));
    list.append(item);
  }
  return list;
}

function goTo(view, number) {
  const at = view.state.doc.line(Math.min(Math.max(number, 1), view.state.doc.lines));
  view.dispatch({ selection: { anchor: at.from }, effects: EditorView.scrollIntoView(at.from, { y: "center" }) });
  view.focus();
}

// Keys and values that fit, as the schema says.
function completions(context) {
  if (!schema) return null;
  const row = context.state.doc.lineAt(context.pos);
  const before = row.text.slice(0, context.pos - row.from);
  const value = /^\s*(?:-\s+)*["']?([^\s#:"']+)["']?:\s+["']?([\w^.-]*)$/.exec(before);
  const path = parentsOf(context.state, context.pos);
  if (value) {
    const options = valuesAt(schema, [...path, value[1]]).map((label) => ({ label, type: "constant" }));
    const flow = options.length ? options : [];
    return flow.length ? { from: context.pos - value[2].length, options: flow, validFor: /^[\w^.-]*$/ } : null;
  }
  const key = /^\s*(?:-\s+)*([\w-]*)$/.exec(before);
  if (!key || (!key[1] && !context.explicit && !/-\s+$/.test(before) && before.trim())) return null;
  const keys = keysAt(schema, path);
  const options = [...keys].map(([label]) => {
    const told = describe(schema, [...path, label]);
    const deep = takesMapping(schema, [...path, label]);
    return { label, type: deep ? "class" : "property", apply: `${label}: `, info: () => line("div", "told", told.told) };
  });
  return options.length ? { from: context.pos - key[1].length, options, validFor: /^[\w-]*$/ } : null;
}

const hover = hoverTooltip((view, position) => {
  if (!schema) return null;
  const path = pathAt(view.state, position);
  const last = path[path.length - 1];
  if (!last?.key || position < last.key.from || position > last.key.to) return null;
  const told = describe(schema, path.map((one) => one.name));
  if (!told.told) return null;
  return {
    pos: last.key.from,
    end: last.key.to,
    above: true,
    create() {
      const dom = line("div", "told", "");
      dom.append(line("strong", "", textOf(view.state, last.key)), line("div", "", told.told));
      if (told.values.length) dom.append(line("div", "", told.values.join(" | ")));
      if (told.standard !== undefined) dom.append(line("div", "", `= ${told.standard}`));
      if (told.example !== undefined) dom.append(line("code", "", JSON.stringify(told.example)));
      return { dom };
    },
  };
});

// A new line stands below the one before, deeper after `key:`.
function newLine({ state, dispatch }) {
  dispatch(
    state.update(
      state.changeByRange((range) => {
        const before = state.sliceDoc(state.doc.lineAt(range.from).from, range.from);
        const indent = isYaml ? /^\s*/.exec(before)[0] + (/^[^#]*:\s*$/.test(before) ? "  " : "") : "";
        const at = range.from + 1 + indent.length;
        return { changes: { from: range.from, to: range.to, insert: `\n${indent}` }, range: EditorSelection.cursor(at) };
      }),
      { scrollIntoView: true, userEvent: "input" },
    ),
  );
  return true;
}

const colors = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--main)" },
  { tag: tags.comment, color: "var(--dim)", fontStyle: "italic" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--ok)" },
  { tag: [tags.typeName, tags.keyword, tags.labelName], color: "var(--wait)" },
]);
const look = EditorView.theme({
  "&": { height: "62vh", border: "1px solid var(--line)", borderRadius: "6px", background: "var(--back)", color: "var(--ink)", fontSize: "13px" },
  "&.cm-focused": { outline: "2px solid var(--main)" },
  ".cm-scroller": { fontFamily: 'ui-monospace, "Liberation Mono", monospace' },
  ".cm-content": { caretColor: "var(--ink)" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  ".cm-gutters": { background: "var(--card)", color: "var(--dim)", borderRight: "1px solid var(--line)" },
  ".cm-activeLine": { background: "color-mix(in srgb, var(--main) 6%, transparent)" },
  ".cm-selectionBackground, &.cm-focused .cm-selectionBackground": { background: "color-mix(in srgb, var(--main) 28%, transparent) !important" },
  ".cm-tooltip": { background: "var(--card)", color: "var(--ink)", border: "1px solid var(--line)", borderRadius: "6px", maxWidth: "46em" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { background: "var(--main)", color: "var(--main-ink)" },
  ".cm-panels": { background: "var(--card)", color: "var(--ink)", fontFamily: "system-ui, sans-serif" },
  ".cm-panels.cm-panels-bottom": { borderTop: "1px solid var(--line)" },
  ".cm-panel.cm-search": { padding: "8px 28px 8px 8px" },
  ".cm-panel.cm-search label": { fontSize: "12.5px" },
  ".cm-panel.cm-search [name=close]": { color: "var(--dim)", fontSize: "18px", right: "8px" },
  ".cm-textfield": { background: "var(--back)", color: "var(--ink)", border: "1px solid var(--line)", borderRadius: "6px", padding: "3px 7px", fontSize: "13px" },
  ".cm-button": { background: "var(--card)", color: "var(--ink)", border: "1px solid var(--line)", borderRadius: "6px", padding: "3px 9px", fontSize: "13px" },
  ".cm-button:active": { background: "var(--back)" },
  ".cm-textfield:focus-visible, .cm-button:focus-visible, .cm-panel [name=close]:focus-visible": { outline: "2px solid var(--main)", outlineOffset: "1px" },
  ".cm-searchMatch": { background: "color-mix(in srgb, var(--warn) 30%, transparent)" },
  ".cm-searchMatch.cm-searchMatch-selected": { background: "color-mix(in srgb, var(--warn) 55%, transparent)" },
  ".told": { padding: "6px 10px", fontFamily: "system-ui, sans-serif" },
});

const root = place.attachShadow({ mode: "open" });
const live = document.querySelector("#live input");
let waiting = 0;

function tryAgain() {
  clearTimeout(waiting);
  const ready = form.elements.message.value.trim() || form.elements.message_id?.value.trim();
  if (live.checked && ready) waiting = setTimeout(() => document.getElementById("try").click(), 900);
}

const view = new EditorView({
  root,
  parent: root,
  state: EditorState.create({
    doc: field.value,
    extensions: [
      lineNumbers(), foldGutter(), history(), drawSelection(), bracketMatching(), closeBrackets(), highlightActiveLine(), highlightSelectionMatches(),
      indentUnit.of("  "), syntaxHighlighting(colors), look, EditorView.lineWrapping, EditorView.contentAttributes.of({ "aria-label": file }),
      EditorState.readOnly.of(field.readOnly), EditorState.phrases.of(JSON.parse(place.dataset.phrases)),
      keymap.of([...completionKeymap, { key: "Enter", run: newLine }, ...defaultKeymap, ...historyKeymap, ...searchKeymap, ...lintKeymap, indentWithTab]),
      ...(isYaml ? [yaml()] : []),
      ...(isChannels ? [autocompletion({ override: [completions] }), hover] : []),
      ...(field.readOnly ? [] : [lintGutter(), linter(problems, { delay: 600 })]),
      EditorView.updateListener.of((update) => {
        if (update.docChanged) {
          field.value = update.state.doc.toString();
          tryAgain();
        }
      }),
    ],
  }),
});
view.scrollDOM.tabIndex = 0; // scrolled by keyboard, too
field.hidden = true;
document.querySelector("label[for=text]").addEventListener("click", () => view.focus());
place.hidden = false;
document.getElementById("live").hidden = false;
form.elements.message.addEventListener("input", tryAgain);
if (form.dataset.at) goTo(view, Number(form.dataset.at));
if (isChannels) ask("schema").then((found) => ((schema = found), (place.dataset.schema = "there")), () => {});
if (!field.readOnly) forceLinting(view);

// "Take it" fills the message in place.
document.getElementById("load")?.addEventListener("click", async (event) => {
  event.preventDefault();
  try {
    form.elements.message.value = (await ask(`samples/${encodeURIComponent(form.elements.sample.value)}`)).text;
    if (form.elements.message_id) form.elements.message_id.value = "";
    tryAgain();
  } catch (error) {
    document.getElementById("result").replaceChildren(line("p", "bad", error.message));
  }
});
// A text that is not deployed is not lost by a slip.
const saved = field.value;
window.addEventListener("beforeunload", (event) => field.value !== saved && !form.dataset.sent && event.preventDefault());
