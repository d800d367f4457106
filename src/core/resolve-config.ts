/** Defaults < files < environment < flags → one checked configuration that remembers where each key came from. */
import { type ConfigField, type ConfigOf, type ConfigSchema, describeConfig } from './config.ts';
import { isRecord, refusal, unknownFlag, unknownKey } from './config-errors.ts';
import { type ConfigFile, readConfigFile } from './config-file.ts';
import { parseConfigText } from './config-text.ts';
import { ConfigError } from './errors.ts';
import { foldName, suggest } from './suggest.ts';

/** A flag as the user gave it: text, or true and false for `--packing` and `--no-packing`. */
export interface FlagValue {
  /** Key or alias in any spelling, without dashes in front. */
  readonly name: string;
  readonly value: string | boolean;
  /** How errors call it; default `--<name>`. */
  readonly shown?: string;
}

export interface ConfigSources {
  /** Later files win. */
  readonly files?: readonly ConfigFile[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Later flags win; a list takes all of its flags. */
  readonly flags?: readonly FlagValue[];
}

/** Where a value came from. `text` is for people: `default`, `sft.yaml:3:1`, `HEED_BETA`, `--beta`. */
export interface ConfigSource {
  readonly kind: 'default' | 'file' | 'env' | 'flag';
  readonly text: string;
}

const DEFAULT: ConfigSource = { kind: 'default', text: 'default' };

export interface ResolvedConfig<T> {
  readonly value: T;
  /** Source of every key, by its dotted path. */
  readonly sources: ReadonlyMap<string, ConfigSource>;
  /** For people: environment variables that look like misspelled keys. */
  readonly warnings: readonly string[];
}

/**
 * Resolves a configuration. Keys may be written `learningRate`, `learning_rate` or `learning-rate` anywhere, nested keys
 * as `lora.rank` or as a map.
 *
 * @throws ConfigError for an unknown key (with the nearest known one), a key given twice in one file, or a value that the
 *   schema refuses. `where` is the flag, the variable, or file:line:column; all wrong keys are named.
 */
export function resolveConfig<S extends ConfigSchema>(
  schema: S,
  sources: ConfigSources,
): ResolvedConfig<ConfigOf<S>> {
  const fields = describeConfig(schema);
  const index = indexFields(fields);
  const given: Given = { input: {}, sources: new Map() };
  for (const file of sources.files ?? []) takeFile(file, index, given);
  const warnings = takeEnvironment(sources.env ?? {}, fields, given);
  takeFlags(sources.flags ?? [], index, given);

  const result = schema.safeParse(given.input);
  if (!result.success) throw refusal(result.error.issues, fields, given.input, given.sources);
  const keySources = new Map(fields.map(({ key }) => [key, given.sources.get(key) ?? DEFAULT]));
  return { value: result.data as ConfigOf<S>, sources: keySources, warnings };
}

/** What the sources gave so far. */
interface Given {
  input: Record<string, unknown>;
  readonly sources: Map<string, ConfigSource>;
}

interface FieldIndex {
  readonly fields: readonly ConfigField[];
  /** By folded path without dots, and by folded alias. */
  readonly leaves: ReadonlyMap<string, ConfigField>;
  /** Nested objects by folded path: their real path. */
  readonly groups: ReadonlyMap<string, readonly string[]>;
}

function indexFields(fields: readonly ConfigField[]): FieldIndex {
  const leaves = new Map<string, ConfigField>();
  const groups = new Map<string, readonly string[]>();
  for (const item of fields) {
    leaves.set(foldPath(item.path), item);
    for (const alias of item.aliases) leaves.set(foldPath([alias]), item);
    for (let depth = 1; depth < item.path.length; depth++) {
      const path = item.path.slice(0, depth);
      groups.set(foldPath(path), path);
    }
  }
  return { fields, leaves, groups };
}

function foldPath(names: readonly string[]): string {
  return names.map((name) => foldName(name.replaceAll('.', ''))).join('');
}

function takeFile(file: ConfigFile, index: FieldIndex, given: Given): void {
  const seen = new Map<string, string>();
  for (const entry of readConfigFile(file, (names) => index.leaves.has(foldPath(names)))) {
    const folded = foldPath(entry.names);
    const leaf = index.leaves.get(folded);
    const path = leaf?.path ?? index.groups.get(folded);
    if (path === undefined) throw unknownKey(entry.position, entry.names.join('.'), index.fields);
    const key = path.join('.');
    const before = seen.get(key);
    if (before !== undefined) {
      throw new ConfigError({
        where: entry.position,
        expected: `${key} once`,
        received: `it again as \`${entry.names.join('.')}\`, first at ${before}`,
        fix: 'Delete one of the two',
      });
    }
    seen.set(key, entry.position);
    if (entry.isMap) setPath(given.input, path, {}, true);
    else take(given, path, entry.value, { kind: 'file', text: entry.position });
  }
}

function takeEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  fields: readonly ConfigField[],
  given: Given,
): string[] {
  const known = new Set<string>();
  for (const item of fields) {
    known.add(item.env);
    const text = env[item.env];
    if (text === undefined || text === '') continue;
    take(given, item.path, parseConfigText(text, item.schema), { kind: 'env', text: item.env });
  }
  // Another command may know the variable, so a stranger is no error; a near miss is worth a word.
  return Object.keys(env)
    .filter((name) => name.startsWith('HEED_') && !known.has(name))
    .flatMap((name) => {
      const near = suggest(
        name.slice('HEED_'.length),
        [...known].map((other) => other.slice('HEED_'.length)),
      );
      return near === undefined ? [] : [`${name} is not read here; did you mean HEED_${near}?`];
    });
}

function takeFlags(flags: readonly FlagValue[], index: FieldIndex, given: Given): void {
  const lists = new Map<string, unknown[]>();
  for (const flag of flags) {
    const shown = flag.shown ?? `--${flag.name}`;
    const item = index.leaves.get(foldPath([flag.name]));
    if (item === undefined) throw unknownFlag(shown, index.fields);
    const value = typeof flag.value === 'string' ? parseConfigText(flag.value, item.schema) : flag.value;
    const list = item.isList && Array.isArray(value) ? [...(lists.get(item.key) ?? []), ...value] : undefined;
    if (list !== undefined) lists.set(item.key, list);
    take(given, item.path, list ?? value, { kind: 'flag', text: shown });
  }
}

function take(given: Given, path: readonly string[], value: unknown, source: ConfigSource): void {
  const key = path.join('.');
  setPath(given.input, path, value, false);
  for (const other of given.sources.keys()) if (other.startsWith(`${key}.`)) given.sources.delete(other);
  given.sources.set(key, source);
}

/** Writes into nested objects, making them on the way; `keep` leaves an object that is already there. */
function setPath(
  target: Record<string, unknown>,
  path: readonly string[],
  value: unknown,
  keep: boolean,
): void {
  let object = target;
  for (const name of path.slice(0, -1)) {
    const inner = object[name];
    const next = isRecord(inner) ? inner : {};
    object[name] = next;
    object = next;
  }
  const last = path.at(-1)!;
  if (!keep || !isRecord(object[last])) object[last] = value;
}
