// Where the cursor is in a YAML file, and what the JSON Schema of channel files says about that place.
import { syntaxTree } from "@codemirror/language";

// The keys from the top to a position: ["channels", "adt", "listener"]; an item of a list is a number.
export function pathAt(state, position) {
  const path = [];
  for (let node = syntaxTree(state).resolveInner(position, -1); node; node = node.parent) {
    if (node.name === "Pair") {
      const key = node.getChild("Key");
      if (key) path.unshift({ name: textOf(state, key), node, key });
    } else if (node.name === "Item") {
      path.unshift({ name: 0, node });
    }
  }
  return path;
}

export function textOf(state, node) {
  return state.sliceDoc(node.from, node.to).trim().replace(/^["']|["']$/g, "");
}

// The keys above a line that is just being written, from its indentation: the tree does not know it yet.
export function parentsOf(state, position) {
  const line = state.doc.lineAt(position);
  let wanted = line.text.length - line.text.trimStart().length;
  const own = /^(\s*)-\s+/.exec(line.text);
  const path = [];
  if (own) {
    wanted = own[1].length + 0.5;
    path.unshift(0);
  }
  for (let number = line.number - 1; number > 0 && wanted > 0; number--) {
    const text = state.doc.line(number).text;
    if (!text.trim() || text.trimStart().startsWith("#")) continue;
    const item = /^(\s*)((?:-\s+)*)([^\s#:-][^:#]*?|"[^"]*"|'[^']*'):(\s|$)/.exec(text);
    if (!item) continue;
    const [, space, dashes, name] = item;
    const at = space.length + dashes.length;
    if (at < wanted) {
      path.unshift(name.replace(/^["']|["']$/g, ""));
      wanted = at;
      if (dashes) {
        path.unshift(0);
        wanted = space.length + 0.5;
      }
    } else if (dashes && space.length < wanted) {
      path.unshift(0);
      wanted = space.length + 0.5;
    }
  }
  return path;
}

// All schemas that may hold at a path.
export function schemasAt(root, path) {
  let found = opened(root, root);
  for (const name of path) {
    const next = [];
    for (const one of found) {
      if (typeof name === "number") {
        if (one.items) next.push(one.items);
      } else if (one.properties && name in one.properties) {
        next.push(one.properties[name]);
      } else {
        for (const [pattern, schema] of Object.entries(one.patternProperties || {})) {
          if (new RegExp(pattern, "u").test(name)) next.push(schema);
        }
        if (one.additionalProperties && typeof one.additionalProperties === "object") next.push(one.additionalProperties);
      }
    }
    found = next.flatMap((one) => opened(root, one));
  }
  return found;
}

function opened(root, schema, depth = 0) {
  if (!schema || typeof schema !== "object" || depth > 12) return [];
  if (schema.$ref) {
    const target = schema.$ref.replace(/^#\//, "").split("/").reduce((at, part) => at?.[decodeURIComponent(part)], root);
    const { $ref, ...beside } = schema;
    return [...(Object.keys(beside).length ? opened(root, beside, depth + 1) : []), ...opened(root, target, depth + 1)];
  }
  const inside = ["anyOf", "oneOf", "allOf"].flatMap((kind) => (schema[kind] || []).flatMap((one) => opened(root, one, depth + 1)));
  return [schema, ...inside];
}

// Keys that may stand below a path: name -> its schema.
export function keysAt(root, path) {
  const keys = new Map();
  for (const one of schemasAt(root, path)) {
    for (const [name, schema] of Object.entries(one.properties || {})) if (!keys.has(name)) keys.set(name, schema);
  }
  return keys;
}

// Values that may stand at a path.
export function valuesAt(root, path) {
  const values = new Set();
  for (const one of schemasAt(root, path)) {
    for (const value of one.enum || []) if (value !== null && typeof value !== "object") values.add(String(value));
    if (one.const !== undefined) values.add(String(one.const));
    if (one.type === "boolean") values.add("true").add("false");
  }
  return [...values];
}

export function describe(root, path) {
  const found = schemasAt(root, path);
  const told = found.find((one) => one.description)?.description || "";
  const standard = found.find((one) => one.default !== undefined && one.default !== "" && typeof one.default !== "object")?.default;
  const example = found.find((one) => one.examples?.length)?.examples[0];
  return { told, standard, example, values: valuesAt(root, path) };
}

export function takesMapping(root, path) {
  return schemasAt(root, path).some((one) => one.properties || one.additionalProperties || one.type === "object");
}
