/** Import arrows of src/: each folder imports only what lies below it (the list in `LEVELS`), and no files need each other to load. */
import { readFile } from 'node:fs/promises';
import { isMainModule, listFiles, report } from './files.mjs';

/** Folders of src/ by level, top first. A folder imports lower levels freely, and its own level in one direction only. */
export const LEVELS = [
  ['index.ts'],
  ['cli', 'serve'],
  ['methods'],
  ['parts', 'guard', 'eval', 'world', 'report'],
  ['models', 'generate', 'data', 'tokenizer', 'optim'],
  ['nn'],
  ['engine'],
  ['onnx'],
  ['graph'],
  ['core'],
];

/**
 * Here files may import each other: the gradient of a sum broadcasts and the gradient of a broadcast sums. Rules are
 * called when a graph is differentiated, never while a file loads.
 */
const MUTUAL = 'src/graph/ops/';

const ARROWS = LEVELS.slice(1)
  .map((folders) => folders.join(', '))
  .join(' → ');

/**
 * Problems with the imports of `files`, one line each.
 *
 * @param {Readonly<Record<string, string>>} files source text by path from the repository's root (`src/core/rng.ts`);
 *   test files are skipped.
 * @param {ReadonlySet<string>} packages what package.json lists under `dependencies`.
 * @returns {string[]}
 */
export function checkImports(files, packages) {
  const problems = [];
  const sources = Object.keys(files)
    .filter((path) => path.startsWith('src/') && !isTest(path))
    .sort();
  /** @type {Map<string, string[]>} */
  const imports = new Map();
  /** First import seen from one folder to another of its level: `from>to` → file. */
  const sideways = new Map();

  for (const path of sources) {
    const from = folderOf(path);
    if (levelOf(from) === -1) {
      problems.push(`${path}: src/${from} has no level; add it to LEVELS in scripts/check-imports.mjs`);
      continue;
    }
    // Files that may import each other count as one.
    const node = path.startsWith(MUTUAL) ? MUTUAL : path;
    const targets = imports.get(node) ?? [];
    imports.set(node, targets);
    for (const { specifier, typeOnly } of importedBy(files[path])) {
      if (specifier.startsWith('node:')) continue;
      if (!specifier.startsWith('.')) {
        const name = packageOf(specifier);
        if (!packages.has(name)) problems.push(`${path}: imports ${name}, which is not in "dependencies"`);
        continue;
      }
      const target = resolve(path, specifier);
      if (!target.startsWith('src/')) {
        problems.push(`${path}: imports ${target}; src imports only src`);
        continue;
      }
      if (isTest(target)) {
        problems.push(`${path}: imports ${target}; src never imports tests`);
        continue;
      }
      if (!typeOnly && !(node === MUTUAL && target.startsWith(MUTUAL))) {
        targets.push(target.startsWith(MUTUAL) ? MUTUAL : target);
      }
      const to = folderOf(target);
      if (isMethod(path) && isMethod(target)) {
        problems.push(`${path}: imports the method ${target}; move what both need to src/parts/`);
      } else if (from !== to && levelOf(to) !== -1 && levelOf(to) < levelOf(from)) {
        problems.push(`${path}: ${from} imports ${to} (${target}), but imports point down: ${ARROWS}`);
      } else if (from !== to && levelOf(to) === levelOf(from)) {
        if (!sideways.has(`${from}>${to}`)) sideways.set(`${from}>${to}`, path);
        if (sideways.has(`${to}>${from}`)) {
          problems.push(
            `${path}: ${from} imports ${to}, and ${to} imports ${from} in ${sideways.get(`${to}>${from}`)}; choose one direction`,
          );
        }
      }
    }
  }

  const circle = findCircle(imports);
  if (circle !== undefined) problems.push(`files import each other in a circle: ${circle.join(' → ')}`);
  return problems;
}

/**
 * Module specifiers of `import`, `export … from` and `import()` in a TypeScript text. Comments and strings are stepped
 * over. `import type` and `export type` vanish when compiled: they obey the arrows, but make no circle.
 *
 * @param {string} text
 * @returns {{ specifier: string, typeOnly: boolean }[]}
 */
export function importedBy(text) {
  const found = [];
  const pattern =
    /\/\*[\s\S]*?\*\/|\/\/.*|\b(?:import|export)\b(?:(?:[\w\s{},*$]|\/\/.*|\/\*[\s\S]*?\*\/)*?\bfrom)?\s*\(?\s*(['"])(?<specifier>[^'"\n]+)\1|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g;
  for (const match of text.matchAll(pattern)) {
    const specifier = match.groups?.specifier;
    if (specifier !== undefined) {
      found.push({ specifier, typeOnly: /^(?:import|export)\s+type\s+[\w{*]/.test(match[0]) });
    }
  }
  return found;
}

/** The folder of src/ that a file belongs to, or the file's own name when it lies in src/ itself. */
function folderOf(path) {
  return path.split('/')[1];
}

function levelOf(folder) {
  return LEVELS.findIndex((folders) => folders.includes(folder));
}

function isTest(path) {
  return path.endsWith('.test.ts');
}

/** Files at src/methods/<family>/<id>.ts; what lies in src/methods/ itself (the registry) is not a method. */
function isMethod(path) {
  return path.startsWith('src/methods/') && path.split('/').length > 3;
}

function packageOf(specifier) {
  const [scope, name] = specifier.split('/');
  return specifier.startsWith('@') ? `${scope}/${name}` : scope;
}

function resolve(path, specifier) {
  const parts = path.split('/').slice(0, -1);
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  return parts.join('/');
}

/** The first circle met in a depth-first walk, as `[a, b, a]`; undefined when there is none. */
function findCircle(imports) {
  const done = new Set();
  const walk = (path, trail) => {
    const start = trail.indexOf(path);
    if (start !== -1) return [...trail.slice(start), path];
    if (done.has(path)) return undefined;
    trail.push(path);
    for (const target of imports.get(path) ?? []) {
      const circle = walk(target, trail);
      if (circle !== undefined) return circle;
    }
    trail.pop();
    done.add(path);
    return undefined;
  };
  for (const path of imports.keys()) {
    const circle = walk(path, []);
    if (circle !== undefined) return circle;
  }
  return undefined;
}

if (isMainModule(import.meta.url)) {
  const paths = await listFiles('src', '.ts');
  const texts = await Promise.all(paths.map(async (path) => [path, await readFile(path, 'utf8')]));
  const { dependencies } = JSON.parse(await readFile('package.json', 'utf8'));
  report(
    checkImports(Object.fromEntries(texts), new Set(Object.keys(dependencies))),
    `${paths.length} files`,
  );
}
