/** A YAML configuration file → its keys with their values and positions. JSON is YAML too. */
import { isAlias, isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import { ConfigError } from './errors.ts';

export interface ConfigFile {
  /** As the user named it; shown in errors. */
  readonly path: string;
  readonly text: string;
}

/** A key of a file. Maps are followed into; `value` is undefined for them and their keys come next. */
export interface FileEntry {
  /** Names as written, outermost first. */
  readonly names: readonly string[];
  readonly value: unknown;
  readonly isMap: boolean;
  /** `sft.yaml:3:1`, counted from 1. */
  readonly position: string;
}

/**
 * Reads a file. `isLeaf` says which keys hold a map as their value (a map of reward weights, for example) rather than
 * further keys.
 *
 * @throws ConfigError when the text is not YAML, or not a map of keys; `where` has line and column.
 */
export function readConfigFile(file: ConfigFile, isLeaf: (names: readonly string[]) => boolean): FileEntry[] {
  const lines = new LineCounter();
  const document = parseDocument(file.text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file.path}:${line}:${col}`;
  };
  const [problem] = document.errors;
  if (problem !== undefined) {
    throw new ConfigError({
      where: at(problem.pos[0]),
      expected: 'valid YAML',
      received: problem.message.replace(/\.$/, '').replace(/^./, (letter) => letter.toLowerCase()),
      fix:
        problem.code === 'TAB_AS_INDENT' ? 'Indent with spaces' : 'Correct the file at this line and column',
      cause: problem,
    });
  }
  if (document.contents === null) return [];
  if (!isMap(document.contents)) {
    throw new ConfigError({
      where: file.path,
      expected: 'a map of keys to values, such as `learningRate: 1e-4`',
      received: isScalar(document.contents)
        ? `the text ${JSON.stringify(document.contents.value)}`
        : 'a list',
      fix: 'Write one `key: value` on each line',
    });
  }
  const entries: FileEntry[] = [];
  const visit = (map: typeof document.contents, parents: readonly string[]): void => {
    if (!isMap(map)) return;
    for (const pair of map.items) {
      const key = isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
      const range = isScalar(pair.key) ? pair.key.range : undefined;
      const names = [...parents, key];
      const position = at(range?.[0] ?? 0);
      const node = isAlias(pair.value) ? pair.value.resolve(document) : pair.value;
      if (isMap(node) && !isLeaf(names)) {
        entries.push({ names, value: undefined, isMap: true, position });
        visit(node as typeof document.contents, names);
      } else {
        const value =
          pair.value !== null && typeof pair.value === 'object' && 'toJS' in pair.value
            ? ((pair.value as { toJS(document: unknown): unknown }).toJS(document) as unknown)
            : pair.value;
        entries.push({ names, value, isMap: false, position });
      }
    }
  };
  visit(document.contents, []);
  return entries;
}
