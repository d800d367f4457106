/** Which files make up a data set: a file, or a folder with the splits of Hugging Face data sets. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { DataError } from '../core/errors.ts';
import { suggest } from '../core/suggest.ts';
import { dataEndings } from './open-data.ts';

/** Words that name a split in a path, between characters that are no letters or digits. @source huggingface/datasets v5.2.0, `data_files.py` */
const splitWords: Readonly<Record<string, readonly string[]>> = {
  train: ['train', 'training'],
  validation: ['validation', 'valid', 'dev', 'val'],
  test: ['test', 'testing', 'eval', 'evaluation'],
};

/** Files by split, in the order of their names. */
export type SplitFiles = ReadonlyMap<string, readonly string[]>;

/**
 * Sorts the files of a data set into splits: as `configs` in the head of its README says, else by the words `train`, `validation`
 * (`valid`, `dev`, `val`) and `test` (`testing`, `eval`, `evaluation`) in their paths (a folder's name before a file's),
 * else all are `train`. Files of other endings are left out.
 *
 * @param paths relative, with `/`
 * @param readme text of README.md
 * @param config which of several configurations of the README. Default: the one named or marked as default, or the only one
 * @throws DataError when the README has several configurations and none is chosen, or not the one that is
 */
export function sortSplits(
  paths: readonly string[],
  {
    readme,
    config,
    where,
  }: { readonly readme?: string | undefined; readonly config?: string | undefined; readonly where: string },
): SplitFiles {
  const files = paths.filter(isDataFile).sort();
  const configs = readme === undefined ? [] : readConfigs(readme);
  if (configs.length > 0) return splitsOfConfig(chooseConfig(configs, config, where), files);
  if (config !== undefined) {
    throw new DataError({
      where,
      expected: `a configuration "${config}"`,
      received: 'a README.md without configs',
      fix: 'Leave the configuration out',
    });
  }
  const splits = new Map<string, string[]>();
  for (const file of files) {
    const split = splitOf(file);
    if (split !== undefined) splits.set(split, [...(splits.get(split) ?? []), file]);
  }
  return splits.size > 0 || files.length === 0 ? splits : new Map([['train', files]]);
}

function isDataFile(path: string): boolean {
  const name = path.toLowerCase().replace(/\.(gz|zst)$/, '');
  const base = name.slice(name.lastIndexOf('/') + 1);
  // What else lies in such folders: metadata of models and of the hub.
  return (
    !path.split('/').some((part) => part.startsWith('.')) &&
    dataEndings.some((ending) => name.endsWith(ending)) &&
    base !== 'dataset_infos.json' &&
    base !== 'dataset_info.json' &&
    base !== 'state.json'
  );
}

function splitOf(path: string): string | undefined {
  const parts = path.toLowerCase().split('/');
  for (const part of parts) {
    const words = part.split(/[^a-z0-9]+/);
    const found = Object.entries(splitWords).find(([, names]) => names.some((name) => words.includes(name)));
    if (found !== undefined) return found[0];
  }
  return undefined;
}

interface Config {
  readonly name: string;
  readonly isDefault: boolean;
  /** Patterns by split. */
  readonly files: ReadonlyMap<string, readonly string[]>;
}

/** `configs` of the YAML head of a README; empty when it has none that can be read. */
function readConfigs(readme: string): Config[] {
  const head = /^---\r?\n([\s\S]*?)\r?\n---/.exec(readme)?.[1];
  if (head === undefined) return [];
  let yaml: unknown;
  try {
    yaml = parse(head);
  } catch {
    return [];
  }
  const { configs } = (yaml ?? {}) as { configs?: unknown };
  if (!Array.isArray(configs)) return [];
  return configs.flatMap((entry: unknown): Config[] => {
    const {
      config_name: name,
      data_files: data,
      default: isDefault,
    } = (entry ?? {}) as Record<string, unknown>;
    if (data === undefined) return [];
    const list: unknown[] = Array.isArray(data) ? data : [data];
    const files = new Map<string, string[]>();
    for (const item of list) {
      const { split = 'train', path = item } =
        typeof item === 'object' ? ((item ?? {}) as Record<string, unknown>) : {};
      const patterns = (Array.isArray(path) ? path : [path]).filter((one) => typeof one === 'string');
      files.set(String(split), [...(files.get(String(split)) ?? []), ...patterns]);
    }
    return [{ name: typeof name === 'string' ? name : 'default', isDefault: isDefault === true, files }];
  });
}

function chooseConfig(configs: readonly Config[], wanted: string | undefined, where: string): Config {
  const names = configs.map(({ name }) => name);
  const found =
    wanted !== undefined
      ? configs.find(({ name }) => name === wanted)
      : (configs.find(({ isDefault }) => isDefault) ??
        configs.find(({ name }) => name === 'default') ??
        (configs.length === 1 ? configs[0] : undefined));
  if (found !== undefined) return found;
  throw new DataError({
    where,
    expected: `one of the configurations ${names.join(', ')}`,
    received: wanted ?? 'none',
    fix: `Add the name behind a hash sign, as in ${where}#${names[0]}`,
  });
}

/** A split whose files are not there is empty: of the hub, only the files of one may be here. */
function splitsOfConfig(config: Config, files: readonly string[]): SplitFiles {
  const splits = new Map<string, string[]>();
  for (const [split, patterns] of config.files) {
    const matchers = patterns.map(globMatcher);
    const found = files.filter((file) => matchers.some((matches) => matches.test(file)));
    splits.set(split, found);
  }
  return splits;
}

/** `*` within a name, `**` across folders, `?` one character. */
function globMatcher(pattern: string): RegExp {
  const source = pattern.replace(/^\.?\//, '').replace(/\*\*\/|\*\*|\*|\?|[.+^${}()|[\]\\]/g, (found) => {
    if (found === '**/') return '(?:.*/)?';
    if (found === '**') return '.*';
    if (found === '*') return '[^/]*';
    return found === '?' ? '[^/]' : `\\${found}`;
  });
  return new RegExp(`^${source}$`);
}

/** The files of one split. @throws DataError naming the splits that are there */
export function chooseSplit(
  splits: SplitFiles,
  wanted: string | undefined,
  where: string,
): readonly string[] {
  const names = [...splits.keys()];
  const split = wanted ?? (splits.has('train') || names.length !== 1 ? 'train' : names[0]!);
  const files = splits.get(split);
  if (files !== undefined && files.length > 0) return files;
  if (files !== undefined) {
    throw new DataError({
      where,
      expected: `the files that README.md names for the split ${split}`,
      received: 'none of them',
      fix: 'Bring them there, or correct `configs` in the head of README.md',
    });
  }
  const near = suggest(split, names);
  throw new DataError({
    where,
    expected:
      names.length === 0
        ? `data files (${dataEndings.join(', ')}, also .gz and .zst)`
        : `a split ${names.join(' | ')}`,
    received: names.length === 0 ? 'none' : split,
    fix:
      names.length === 0
        ? 'Name a folder that holds data files'
        : `Name the split, as in --split ${near ?? names[0]}`,
  });
}

/** The data files of a folder by split. @throws DataError */
export async function folderSplits(folder: string, config?: string): Promise<SplitFiles> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = found
    .filter((entry) => entry.isFile() || entry.isSymbolicLink())
    .map((entry) => join(entry.parentPath, entry.name).slice(join(folder, '/').length).replaceAll('\\', '/'));
  const readme = paths.includes('README.md') ? await readFile(join(folder, 'README.md'), 'utf8') : undefined;
  const splits = sortSplits(paths, { readme, config, where: folder });
  return new Map([...splits].map(([split, files]) => [split, files.map((file) => join(folder, file))]));
}

/** Whether the path is a folder; undefined when it does not exist. */
export async function isFolder(path: string): Promise<boolean | undefined> {
  const found = await stat(path).catch(() => undefined);
  return found?.isDirectory();
}
