/**
 * Files of a repository on the Hugging Face hub, in the cache folder that Hugging Face's own tools use: blobs by their hash,
 * and a folder per commit whose entries point to them. What is there is not fetched again; what was cut off is continued.
 *
 * @source huggingface/huggingface_hub `docs/source/en/guides/manage-cache.md` (layout, environment variables)
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readFileSync, statSync } from 'node:fs';
import { copyFile, mkdir, open, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import {
  datasetInfo,
  downloadFile,
  getHFHubCachePath,
  HubApiError,
  type ListFileEntry,
  listFiles,
  modelInfo,
} from '@huggingface/hub';
import { CheckpointError, DataError } from '../core/errors.ts';

export interface HubOptions {
  /** Branch, tag or commit; `main` when left out. */
  readonly revision?: string;
  /** Default: `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`. */
  readonly cacheDir?: string;
  /** Use what is in the cache and ask nobody. Default: whether `HF_HUB_OFFLINE` is set. */
  readonly offline?: boolean;
  /** Access token for gated and private repositories. Default: `HF_TOKEN`. */
  readonly token?: string;
  /** Default: `HF_ENDPOINT`, else `https://huggingface.co`. */
  readonly endpoint?: string;
  readonly fetch?: typeof fetch;
  /** Hears of bytes that arrived: of one file, of how many. */
  readonly onProgress?: (file: string, done: number, size: number) => void;
}

export interface HubRepository {
  readonly type: 'model' | 'dataset';
  /** `owner/name` */
  readonly name: string;
}

/** A request that brought some bytes before it broke is made again; at most so often for a file. */
const ATTEMPTS = 4;

/**
 * Makes sure that the wanted files of a repository are in the cache.
 *
 * Without a connection, or offline, the newest commit of the revision that is in the cache serves, as it is.
 *
 * @param wanted which files, by their path in the repository
 * @returns the folder of the commit, with the files under their paths
 * @throws DataError when the repository or the connection is not there and the cache cannot help
 * @throws CheckpointError when bytes arrive that do not have the hash that the hub promised
 * @example await fetchSnapshot({ type: 'model', name: 'HuggingFaceTB/SmolLM2-135M-Instruct' }, (path) => path.endsWith('.json'));
 */
export async function fetchSnapshot(
  repository: HubRepository,
  wanted: (path: string) => boolean,
  options: HubOptions = {},
): Promise<string> {
  const offline = options.offline ?? isSet(process.env.HF_HUB_OFFLINE);
  const place = placeOf(repository, options);
  if (offline) {
    const cached = cachedSnapshot(place);
    if (cached !== undefined) return cached;
    throw unreachable(repository, place, 'no copy, and offline is set');
  }
  let commit: string;
  let files: ListFileEntry[];
  try {
    commit = await commitOf(repository, place.revision, options);
    files = await listWanted(repository, commit, wanted, options);
  } catch (cause) {
    const cached = isConnectionError(cause) ? cachedSnapshot(place) : undefined;
    if (cached !== undefined) return cached;
    throw explain(repository, place, cause);
  }
  const snapshot = join(place.folder, 'snapshots', commit);
  await mkdir(snapshot, { recursive: true });
  for (const file of files) await fetchFile(file, { repository, place, commit, options });
  if (place.revision !== commit) {
    const ref = join(place.folder, 'refs', place.revision);
    await mkdir(dirname(ref), { recursive: true });
    await writeAside(ref, commit);
  }
  return snapshot;
}

interface Place {
  /** Of the repository, in the cache. */
  readonly folder: string;
  readonly revision: string;
}

function placeOf({ type, name }: HubRepository, { cacheDir, revision = 'main' }: HubOptions): Place {
  if (!/^[\w.-]+(\/[\w.-]+)*$/.test(revision) || revision.split('/').includes('..')) {
    throw new DataError({
      where: `${name}: revision`,
      expected: 'a branch, a tag or a commit',
      received: JSON.stringify(revision),
      fix: 'Correct the revision',
    });
  }
  const folder = join(cacheDir ?? getHFHubCachePath(), [`${type}s`, ...name.split('/')].join('--'));
  return { folder, revision };
}

/** The folder of the commit that a revision last meant, if any of it is there. */
function cachedSnapshot({ folder, revision }: Place): string | undefined {
  const ref = join(folder, 'refs', revision);
  const commit = existsSync(ref) ? readFileSync(ref, 'utf8').trim() : revision;
  const snapshot = join(folder, 'snapshots', commit);
  return /^[0-9a-f]{40}$/.test(commit) && existsSync(snapshot) ? snapshot : undefined;
}

type Call = { hubUrl?: string; fetch?: typeof fetch; accessToken?: string };

function callOptions({ endpoint, token, fetch: given }: HubOptions): Call {
  const hubUrl = endpoint ?? process.env.HF_ENDPOINT;
  const accessToken = token ?? process.env.HF_TOKEN;
  return {
    ...(hubUrl === undefined ? {} : { hubUrl }),
    ...(accessToken === undefined || accessToken === '' ? {} : { accessToken }),
    ...(given === undefined ? {} : { fetch: given }),
  };
}

async function commitOf(
  { type, name }: HubRepository,
  revision: string,
  options: HubOptions,
): Promise<string> {
  const request = { name, revision, additionalFields: ['sha' as const], ...callOptions(options) };
  const { sha } = type === 'model' ? await modelInfo(request) : await datasetInfo(request);
  if (/^[0-9a-f]{40}$/.test(sha)) return sha;
  throw new DataError({
    where: name,
    expected: 'a commit of 40 hexadecimal digits',
    received: JSON.stringify(sha),
  });
}

async function listWanted(
  repository: HubRepository,
  commit: string,
  wanted: (path: string) => boolean,
  options: HubOptions,
): Promise<ListFileEntry[]> {
  const files: ListFileEntry[] = [];
  const request = { repo: repository, revision: commit, recursive: true, ...callOptions(options) };
  for await (const entry of listFiles(request)) {
    // A path comes from the repository and is joined to the cache's.
    if (entry.path.split(/[\\/]/).some((part) => part === '..' || part === '')) continue;
    if (entry.type === 'file' && wanted(entry.path)) files.push(entry);
  }
  return files;
}

interface FileContext {
  readonly repository: HubRepository;
  readonly place: Place;
  readonly commit: string;
  readonly options: HubOptions;
}

async function fetchFile(entry: ListFileEntry, context: FileContext): Promise<void> {
  const { repository, place, commit } = context;
  const pointer = join(place.folder, 'snapshots', commit, ...entry.path.split('/'));
  if (existsSync(pointer)) return;
  const hash = entry.lfs?.oid ?? entry.oid;
  if (hash === undefined || !/^[0-9a-f]{40,64}$/.test(hash)) {
    throw new DataError({
      where: `${repository.name}/${entry.path}`,
      expected: 'a file with a hash',
      received: JSON.stringify(hash) ?? 'none',
    });
  }
  const blob = join(place.folder, 'blobs', hash);
  if (!existsSync(blob)) {
    await mkdir(dirname(blob), { recursive: true });
    await download(entry, hash, `${blob}.incomplete`, context);
    await rename(`${blob}.incomplete`, blob);
  }
  await mkdir(dirname(pointer), { recursive: true });
  try {
    await symlink(relative(dirname(pointer), blob), pointer);
  } catch (cause) {
    // Another process was faster; or there are no links here, as on Windows without rights.
    if (!existsSync(pointer)) await copyFile(blob, pointer).catch(() => Promise.reject(cause));
  }
}

/** Brings a file to `incomplete`, from where an earlier try ended, and checks its hash. */
async function download(
  entry: ListFileEntry,
  hash: string,
  incomplete: string,
  { repository, commit, options }: FileContext,
): Promise<void> {
  const { path, size } = entry;
  const where = `${repository.name}/${path}`;
  const call = callOptions(options);
  let have = existsSync(incomplete) ? statSync(incomplete).size : 0;
  if (have > size) {
    await rm(incomplete);
    have = 0;
  }
  for (let attempt = 1; have < size || size === 0; attempt++) {
    let failure: unknown;
    const before = have;
    try {
      const blob = await downloadFile({ repo: repository, path, revision: commit, ...call });
      if (blob === null) throw new DataError({ where, expected: 'a file', received: 'none of this name' });
      const rest = have === 0 ? blob : blob.slice(have);
      // Written piece by piece: a stream that breaks must not take with it what had arrived.
      const file = await open(incomplete, have === 0 ? 'w' : 'a');
      try {
        for await (const chunk of rest.stream() as unknown as AsyncIterable<Uint8Array>) {
          await file.writeFile(chunk);
          have += chunk.length;
          options.onProgress?.(path, have, size);
        }
      } finally {
        await file.close();
      }
    } catch (cause) {
      failure = cause;
    }
    have = existsSync(incomplete) ? statSync(incomplete).size : 0;
    if (failure === undefined && have === size) break;
    if (have > before && have < size && attempt < ATTEMPTS) continue;
    if (failure !== undefined && !isConnectionError(failure)) throw failure;
    if (have > size) break;
    throw new DataError({
      where,
      expected: `${size} bytes`,
      received: `${have}, then the connection ended`,
      fix: 'Run again: it goes on from there',
      cause: failure,
    });
  }
  const received = await hashOf(incomplete, hash.length === 64 ? undefined : size);
  if (received === hash) return;
  await rm(incomplete);
  throw new CheckpointError({
    where,
    expected: `${hash.length === 64 ? 'SHA-256' : 'git hash'} ${hash}`,
    received: received,
    fix: 'The file was damaged on its way and was removed; run again',
  });
}

/** SHA-256 of a file, or the hash that git gives a blob of `size` bytes. */
async function hashOf(file: string, size: number | undefined): Promise<string> {
  const hash = createHash(size === undefined ? 'sha256' : 'sha1');
  if (size !== undefined) hash.update(`blob ${size}\0`);
  await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash);
  return hash.digest('hex');
}

async function writeAside(file: string, text: string): Promise<void> {
  const temporary = `${file}.${process.pid}.partial`;
  await writeFile(temporary, text);
  await rename(temporary, file);
}

const isSet = (value: string | undefined): boolean =>
  value !== undefined && !['', '0', 'false', 'off', 'no'].includes(value.toLowerCase());

/** Whether nobody answered, as opposed to an answer that says no. */
function isConnectionError(error: unknown): boolean {
  if (error instanceof HubApiError) return error.statusCode >= 500 || error.statusCode === 429;
  if (error instanceof DataError || error instanceof CheckpointError) return false;
  return error instanceof Error && (error instanceof TypeError || 'cause' in error || 'code' in error);
}

function unreachable(
  { type, name }: HubRepository,
  { folder, revision }: Place,
  received: string,
  cause?: unknown,
) {
  const kind = type === 'model' ? '' : ' --repo-type dataset';
  return new DataError({
    where: `${type} ${name}, revision ${revision}`,
    expected: `a folder of this name, the Hugging Face hub, or a copy in ${folder}`,
    received,
    fix: `Where there is a connection, run "hf download ${name}${kind}" and copy that folder, or pass the path of a local folder`,
    cause,
  });
}

/** What a failed request means for the user. */
function explain(repository: HubRepository, place: Place, cause: unknown): unknown {
  if (cause instanceof DataError) return cause;
  if (cause instanceof HubApiError && !isConnectionError(cause)) {
    const { type, name } = repository;
    const denied = cause.statusCode === 401 || cause.statusCode === 403;
    return new DataError({
      where: `${type} ${name}, revision ${place.revision}`,
      expected: `a ${type} on the Hugging Face hub that may be read`,
      received: `status ${cause.statusCode}${denied ? ', access denied' : ''}`,
      fix: denied
        ? 'Accept its terms on its page if it is gated, and set HF_TOKEN; or check the name'
        : 'Check the name and the revision',
      cause,
    });
  }
  const reason = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  return unreachable(
    repository,
    place,
    `no answer (${reason instanceof Error ? reason.message : reason})`,
    cause,
  );
}

/** Whether a source is a hub id (`owner/name`, also with `@revision`), not a path of this machine. */
export function readHubId(
  source: string,
): { readonly name: string; readonly revision?: string; readonly file?: string } | undefined {
  const [, name, revision, file] =
    /^([A-Za-z0-9][\w-]*(?:\.[\w-]+)*\/[\w-]+(?:\.[\w-]+)*)(?:@([\w./-]+?))?(?:\/([\w./-]+\.gguf))?$/.exec(
      source,
    ) ?? [];
  // A path whose first folder is here is meant as a path, also when the rest is not there.
  if (name === undefined || existsSync(source.split('/', 1)[0]!)) return undefined;
  return {
    name,
    ...(revision === undefined ? {} : { revision }),
    ...(file === undefined ? {} : { file }),
  };
}

/** Files of a model repository: weights as safetensors, configurations, tokenizers and templates; not those in folders. */
const MODEL_FILES =
  /^(?:[^/]+\.(?:safetensors|json|jinja|model|txt)|additional_chat_templates\/[^/]+\.jinja|README\.md|LICENSE[^/]*)$/;
const WEIGHTS = /\.(?:safetensors|safetensors\.index\.json)$/;

/**
 * Where a model is on this machine: the path itself, or for a hub id the folder (for `owner/name/file.gguf`, the file) in
 * the cache, fetched if need be.
 *
 * @param weights whether the weights are wanted too; a tokenizer alone needs none
 * @throws as `fetchSnapshot`; DataError when the repository has no weights that can be read
 */
export async function locateModel(
  source: string,
  { weights = true, ...options }: HubOptions & { readonly weights?: boolean } = {},
): Promise<string> {
  const id = readHubId(source);
  if (id === undefined) return source;
  const repository: HubRepository = { type: 'model', name: id.name };
  const given = id.revision === undefined ? options : { ...options, revision: id.revision };
  if (id.file !== undefined) {
    const folder = await fetchSnapshot(repository, (path) => path === id.file, given);
    return present(source, folder, [id.file], join(folder, id.file));
  }
  const folder = await fetchSnapshot(
    repository,
    (path) => MODEL_FILES.test(path) && (weights || !WEIGHTS.test(path)),
    given,
  );
  if (!weights) return folder;
  const names = await readdir(folder);
  const has = names.some((name) => WEIGHTS.test(name));
  return has ? folder : present(source, folder, ['model.safetensors'], folder);
}

/** The result, if the files are there. */
function present(source: string, folder: string, files: readonly string[], result: string): string {
  const missing = files.filter((file) => !existsSync(join(folder, file)));
  if (missing.length === 0) return result;
  throw new DataError({
    where: source,
    expected: missing.join(', '),
    received: `a repository without it, or an incomplete copy in ${folder}`,
    fix: 'Use a repository with safetensors weights or name one of its .gguf files (pickle files are not read)',
  });
}
