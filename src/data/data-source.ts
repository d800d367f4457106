/** A data set as the user names it, as a stream of rows in TRL's columns. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError, DataError } from '../core/errors.ts';
import { createRng } from '../core/rng.ts';
import { fetchSnapshot, type HubOptions, readHubId } from '../models/hub.ts';
import { type ConverterName, convertRow, detectConverter, type RowForm } from './converters.ts';
import { chooseSplit, folderSplits, isFolder, sortSplits } from './data-files.ts';
import type { Row } from './row.ts';
import { concatStreams, fileStream, flatMapStream, mixStreams, type Stream } from './stream.ts';

export interface SourceOptions {
  /** Of a folder or a data set of the hub. Default: the first of `prefer` that is there, else the only one. */
  readonly split?: string | undefined;
  /** Splits in the order in which they are looked for when none is named. Default `train`. */
  readonly prefer?: readonly string[];
  /** What the rows are. Default `auto`. */
  readonly from?: RowForm | undefined;
  /** Hears of rows that a converter cannot read, which are then left out. Default: the first one is thrown. */
  readonly onRefused?: ((error: DataError) => void) | undefined;
  /** Of the hub; the revision stands in the name, `owner/name@revision`. */
  readonly hub?: Omit<HubOptions, 'revision'>;
}

export interface DataSource {
  /** As the user named it. */
  readonly name: string;
  readonly files: readonly string[];
  /** The converter in use. */
  readonly converter: ConverterName | undefined;
  readonly rows: Stream<Row>;
}

/**
 * Opens a data set: a file (see `readRows`), a folder with splits, or a data set on the Hugging Face hub, `owner/name` or
 * `owner/name@revision`, of which only the files of the split are fetched. Behind a `#` stands the configuration of a data set
 * that has several. Rows of well-known forms are converted (see `rowForms`).
 *
 * @throws DataError when there is no such data set, split or configuration, no connection, or a first row that is damaged
 * @example
 * const { rows } = await openData('data/pairs', { split: 'test' });
 * for await (const { value: row, next } of rows.from()) use(row);
 */
export async function openData(name: string, options: SourceOptions = {}): Promise<DataSource> {
  const files = await findFiles(name, options);
  const from = options.from ?? 'auto';
  const raw = fileStream(files);
  const converter = from === 'none' ? undefined : from === 'auto' ? await recognize(raw) : from;
  const rows =
    converter === undefined
      ? raw
      : flatMapStream(raw, (row) => tryConvert(row, converter, options.onRefused));
  return { name, files, converter, rows };
}

function tryConvert(
  row: Row,
  converter: ConverterName,
  onRefused: SourceOptions['onRefused'],
): readonly Row[] {
  try {
    return convertRow(row, converter);
  } catch (error) {
    if (onRefused === undefined || !(error instanceof DataError)) throw error;
    onRefused(error);
    return [];
  }
}

async function recognize(rows: Stream<Row>): Promise<ConverterName | undefined> {
  for await (const { value } of rows.from()) return detectConverter(value);
  return undefined;
}

async function findFiles(name: string, options: SourceOptions): Promise<readonly string[]> {
  const kind = await isFolder(name);
  if (kind === false) {
    if (options.split === undefined) return [name];
    throw new DataError({
      where: '--split',
      expected: 'a folder or a data set of the hub, which have splits',
      received: `the file ${name}`,
      fix: 'Name the file of the split itself',
    });
  }
  const hash = name.indexOf('#');
  const place = kind === undefined && hash >= 0 ? name.slice(0, hash) : name;
  const config = place === name ? undefined : name.slice(hash + 1);
  const id = readHubId(place);
  if (kind === true || id === undefined || (await isFolder(place)) !== undefined) {
    if ((await isFolder(place)) !== true) return [name]; // readRows says what is missing
    return pick(await folderSplits(place, config), options, place);
  }
  return fetchFiles(id, config, options, place);
}

async function fetchFiles(
  id: NonNullable<ReturnType<typeof readHubId>>,
  config: string | undefined,
  options: SourceOptions,
  where: string,
): Promise<readonly string[]> {
  const repository = { type: 'dataset', name: id.name } as const;
  const hub = { ...options.hub, ...(id.revision === undefined ? {} : { revision: id.revision }) };
  const paths: string[] = [];
  const folder = await fetchSnapshot(
    repository,
    (path) => {
      paths.push(path);
      return path === 'README.md';
    },
    hub,
  );
  // What is in the cache, where the hub was not asked.
  if (paths.length === 0) return pick(await folderSplits(folder, config), options, where);
  const readme = paths.includes('README.md') ? await readFile(join(folder, 'README.md'), 'utf8') : undefined;
  const files = pick(sortSplits(paths, { readme, config, where }), options, where);
  const wanted = new Set(files);
  await fetchSnapshot(repository, (path) => wanted.has(path), hub);
  return files.map((file) => join(folder, file));
}

function pick(
  splits: ReturnType<typeof sortSplits>,
  { split, prefer = ['train'] }: SourceOptions,
  where: string,
): readonly string[] {
  return chooseSplit(splits, split ?? prefer.find((name) => splits.has(name)), where);
}

export interface MixedOptions extends SourceOptions {
  /** One for each data set: mixed with these weights until one ends. Default: one after the other. */
  readonly weights?: readonly number[] | undefined;
  /** Of the mixture. */
  readonly seed?: number;
}

/** Several data sets as one. @throws as `openData`; ConfigError for weights that do not fit */
export async function openAll(
  names: string | readonly string[],
  { weights, seed = 0, ...options }: MixedOptions = {},
): Promise<{ readonly sources: readonly DataSource[]; readonly rows: Stream<Row> }> {
  const list = typeof names === 'string' ? [names] : names;
  if (weights !== undefined && weights.length !== list.length) {
    throw new ConfigError({
      where: '--data-weights',
      expected: `${list.length}, one for each data set`,
      received: weights.join(', '),
    });
  }
  const sources: DataSource[] = [];
  for (const name of list) sources.push(await openData(name, options));
  const streams = sources.map(({ rows }) => rows);
  const rows =
    weights === undefined
      ? concatStreams(streams)
      : mixStreams(streams, { weights, rng: createRng(seed).split('data mixture') });
  return { sources, rows };
}

/** All rows of data sets, or the first `limit`. @throws as `openAll` */
export async function loadRows(
  names: string | readonly string[],
  {
    limit = Number.POSITIVE_INFINITY,
    ...options
  }: MixedOptions & { readonly limit?: number | undefined } = {},
): Promise<Row[]> {
  const { rows } = await openAll(names, options);
  const loaded: Row[] = [];
  for await (const { value } of rows.from()) {
    loaded.push(value);
    if (loaded.length >= limit) break;
  }
  return loaded;
}
