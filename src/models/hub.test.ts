/** The hub, played by a function: no network here. */
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CheckpointError, DataError } from '../core/errors.ts';
import { loadTokenizer } from '../tokenizer/load-tokenizer.ts';
import { loadModel, readModel } from './checkpoint.ts';
import { fetchSnapshot, locateModel, readHubId } from './hub.ts';

const golden = new URL('../../test/golden/data/', import.meta.url).pathname;
const NAME = 'tiny/llama.v1';
const MODEL = { type: 'model', name: NAME } as const;
const FIRST = 'a'.repeat(40);
const SECOND = 'b'.repeat(40);

interface FakeHub {
  readonly fetch: typeof fetch;
  /** `GET path` per request; downloads with their range. */
  readonly requests: string[];
  readonly tokens: (string | null)[];
  /** Bytes after which the next downloads break, one entry each. */
  readonly breaks: number[];
  /** Sends other bytes than it promised. */
  lies: boolean;
  /** No answer at all. */
  down: boolean;
  status: number;
}

type Files = Readonly<Record<string, Uint8Array>>;

/** A repository with commits by revision. Files above 1000 bytes are large files, known by their SHA-256. */
function fakeHub(commits: Readonly<Record<string, Files>>, refs: Readonly<Record<string, string>>): FakeHub {
  const isLarge = (bytes: Uint8Array): boolean => bytes.length > 1000;
  const hash = (kind: string, bytes: Uint8Array, head = ''): string =>
    createHash(kind).update(head).update(bytes).digest('hex');
  const hub: FakeHub = {
    ...{ requests: [], tokens: [], breaks: [], lies: false, down: false, status: 200 },
    fetch: async (input, init) => {
      const url = new URL(String(input));
      const range = new Headers(init?.headers).get('range');
      hub.tokens.push(new Headers(init?.headers).get('authorization'));
      if (hub.down)
        throw new TypeError('fetch failed', { cause: new Error('getaddrinfo ENOTFOUND huggingface.co') });
      if (hub.status !== 200) return new Response('no', { status: hub.status });
      const info = /^\/api\/models\/(.+)\/revision\/(.+)$/.exec(decodeURIComponent(url.pathname));
      if (info !== null) {
        hub.requests.push(`info ${info[2]}`);
        const sha = refs[info[2]!] ?? info[2]!;
        return commits[sha] === undefined
          ? new Response('no such revision', { status: 404 })
          : Response.json({ _id: '1', id: NAME, sha, lastModified: '2025-01-01' });
      }
      const tree = /^\/api\/models\/.+\/tree\/(\w+)$/.exec(url.pathname);
      if (tree !== null) {
        hub.requests.push(`tree ${tree[1]}`);
        const entries = Object.entries(commits[tree[1]!]!).map(([path, bytes]) => ({
          ...{ type: 'file', path, size: bytes.length, oid: hash('sha1', bytes, `blob ${bytes.length}\0`) },
          ...(isLarge(bytes)
            ? { lfs: { oid: hash('sha256', bytes), size: bytes.length, pointerSize: 130 } }
            : {}),
        }));
        return Response.json(entries);
      }
      const [, commit, path] = /\/resolve\/(\w+)\/(.+)$/.exec(url.pathname)!;
      const bytes = commits[commit!]![path!]!;
      const [, start = '0', end = String(bytes.length - 1)] = /bytes=(\d+)-(\d*)/.exec(range ?? '') ?? [];
      const headers = {
        etag: '"x"',
        'content-range': `bytes ${start}-${end || bytes.length - 1}/${bytes.length}`,
        'content-type': 'application/octet-stream',
      };
      if (range === 'bytes=0-0') return new Response(bytes.slice(0, 1), { status: 206, headers });
      hub.requests.push(`${path} from ${start}`);
      const sent = bytes.slice(Number(start), end === '' ? bytes.length : Number(end) + 1);
      if (hub.lies) sent[0]! ^= 1;
      const limit = hub.breaks.shift();
      const body =
        limit === undefined
          ? sent
          : new ReadableStream<Uint8Array>({
              start(controller) {
                controller.enqueue(sent.slice(0, limit));
              },
              pull(controller) {
                controller.error(new TypeError('terminated'));
              },
            });
      return new Response(body, { status: range === null ? 200 : 206, headers });
    },
  };
  return hub;
}

const filesOf = (folder: string, names: readonly string[]): Record<string, Uint8Array> =>
  Object.fromEntries(names.map((name) => [name, readFileSync(join(golden, folder, name))]));

let cacheDir: string;
let hub: FakeHub;
beforeEach(() => {
  cacheDir = mkdtempSync(join(tmpdir(), 'heed-hub-'));
  const weights = filesOf('llama-plain', ['config.json', 'model.safetensors']);
  const tokenizer = filesOf('bpe-tokenizer/plain', ['tokenizer.json', 'tokenizer_config.json']);
  const more = {
    'pytorch_model.bin': new Uint8Array(9),
    'onnx/model.onnx': new Uint8Array(9),
    'onnx/config.json': new Uint8Array(9),
    '../evil.json': new Uint8Array(9),
  };
  hub = fakeHub(
    {
      [FIRST]: { ...weights, ...tokenizer, ...more },
      [SECOND]: filesOf('llama-biases', ['config.json', 'model.safetensors']),
    },
    { main: FIRST, 'refs-are/branches': SECOND },
  );
});
afterEach(() => {
  rmSync(cacheDir, { recursive: true });
  vi.unstubAllEnvs();
});
const options = () => ({ cacheDir, fetch: hub.fetch });
const folder = (): string => join(cacheDir, 'models--tiny--llama.v1');

describe('loadModel of a hub id', () => {
  it('fetches what it needs into the layout of Hugging Face, once', async () => {
    const loaded = await loadModel(NAME, options());
    expect(loaded.source).toBe(NAME);
    expect(loaded.parameters.flat).toEqual(readModel(join(golden, 'llama-plain')).parameters.flat);
    expect(readFileSync(join(folder(), 'refs', 'main'), 'utf8')).toBe(FIRST);
    const snapshot = join(folder(), 'snapshots', FIRST);
    expect(readdirSync(snapshot).sort()).toEqual([
      'config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    const weights = readFileSync(join(snapshot, 'model.safetensors'));
    const sha256 = createHash('sha256').update(weights).digest('hex');
    expect(readlinkSync(join(snapshot, 'model.safetensors'))).toBe(join('..', '..', 'blobs', sha256));
    expect(existsSync(join(cacheDir, '..', 'evil.json'))).toBe(false);

    hub.requests.length = 0;
    await loadModel(NAME, options());
    expect(hub.requests).toEqual(['info main', `tree ${FIRST}`]);
  });

  it('honours the revision, in the options or after an @', async () => {
    const wanted = readModel(join(golden, 'llama-biases')).parameters.flat;
    expect((await loadModel(NAME, { ...options(), revision: 'refs-are/branches' })).parameters.flat).toEqual(
      wanted,
    );
    expect((await loadModel(`${NAME}@${SECOND}`, options())).parameters.flat).toEqual(wanted);
    expect(readFileSync(join(folder(), 'refs', 'refs-are', 'branches'), 'utf8')).toBe(SECOND);
    await expect(loadModel(NAME, { ...options(), revision: '../main' })).rejects.toThrow(/expected a branch/);
    await expect(loadModel(NAME, { ...options(), revision: 'gone' })).rejects.toThrow(
      /received status 404. Check the name/,
    );
  });

  it('fetches a tokenizer without the weights', async () => {
    const tokenizer = await loadTokenizer(NAME, options());
    expect(tokenizer.encode('the')).toEqual(
      (await loadTokenizer(join(golden, 'bpe-tokenizer/plain'))).encode('the'),
    );
    expect(hub.requests.some((request) => request.startsWith('model.safetensors'))).toBe(false);
  });

  it('goes on where a broken download ended, by itself and in the next run', async () => {
    const size = readFileSync(join(golden, 'llama-plain', 'model.safetensors')).length;
    const only = (path: string): boolean => path === 'model.safetensors';
    hub.breaks.push(1000, 500);
    const seen: number[] = [];
    await fetchSnapshot(MODEL, only, { ...options(), onProgress: (_, done) => seen.push(done) });
    expect(hub.requests.slice(2)).toEqual([0, 1000, 1500].map((at) => `model.safetensors from ${at}`));
    expect(seen.at(-1)).toBe(size);

    rmSync(folder(), { recursive: true });
    hub.requests.length = 0;
    // Nothing arrives after the first piece: given up, and kept.
    hub.breaks.push(700, 0);
    await expect(fetchSnapshot(MODEL, only, options())).rejects.toThrow(
      new RegExp(`expected ${size} bytes, received 700, then the connection ended. Run again`),
    );
    await fetchSnapshot(MODEL, only, options());
    expect(hub.requests.at(-1)).toBe('model.safetensors from 700');
    expect(readFileSync(join(folder(), 'snapshots', FIRST, 'model.safetensors'))).toHaveLength(size);
  });

  it.each(['model.safetensors', 'config.json'])(
    'refuses %s with another hash, and keeps nothing of it',
    async (path) => {
      hub.lies = true;
      const failed = fetchSnapshot(MODEL, (name) => name === path, options());
      await expect(failed).rejects.toThrow(CheckpointError);
      await expect(failed).rejects.toThrow(
        /(SHA-256|git hash) [0-9a-f]+, received [0-9a-f]+\. The file was damaged/,
      );
      expect(readdirSync(join(folder(), 'blobs'))).toEqual([]);
    },
  );

  it('uses the cache when nobody answers, and says what to do when that is empty', async () => {
    hub.down = true;
    const failed = loadModel(NAME, options());
    await expect(failed).rejects.toThrow(DataError);
    await expect(failed).rejects.toThrow(
      /expected a folder of this name, the Hugging Face hub, or a copy in .*received no answer \(getaddrinfo ENOTFOUND.*run "hf download tiny\/llama.v1"/,
    );
    hub.down = false;
    await loadModel(NAME, options());
    hub.down = true;
    expect((await loadModel(NAME, options())).parameters.count).toBeGreaterThan(0);
  });

  it('asks nobody offline', async () => {
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    await expect(loadModel(NAME, options())).rejects.toThrow(/received no copy, and offline is set/);
    expect(hub.requests).toEqual([]);
    await loadModel(NAME, { ...options(), offline: false });
    hub.requests.length = 0;
    await loadModel(NAME, options());
    await loadModel(NAME, { ...options(), revision: FIRST });
    expect(hub.requests).toEqual([]);
  });

  it('sends the token, and explains a refusal', async () => {
    vi.stubEnv('HF_TOKEN', 'hf_secret');
    hub.status = 403;
    await expect(loadModel(NAME, options())).rejects.toThrow(/status 403, access denied. Accept its terms/);
    expect(hub.tokens).toEqual(['Bearer hf_secret']);
  });

  it('refuses a repository without weights that it can read', async () => {
    hub = fakeHub(
      { [FIRST]: { 'config.json': new Uint8Array(2), 'pytorch_model.bin': new Uint8Array(2) } },
      { main: FIRST },
    );
    await expect(loadModel(NAME, options())).rejects.toThrow(
      /expected model.safetensors, received a repository without it/,
    );
  });

  it('fetches one GGUF file of a repository', async () => {
    const bytes = readFileSync(join(golden, 'gguf', 'llama.gguf'));
    hub = fakeHub({ [FIRST]: { 'llama-q4.gguf': bytes, 'llama-q8.gguf': bytes } }, { main: FIRST });
    const { parameters } = await loadModel(`${NAME}/llama-q8.gguf`, options());
    expect(parameters.flat).toEqual(readModel(join(golden, 'gguf', 'llama.gguf')).parameters.flat);
    expect(hub.requests).toContain('llama-q8.gguf from 0');
    expect(hub.requests).not.toContain('llama-q4.gguf from 0');
  });
});

describe('readHubId', () => {
  it.each([
    ['owner/name', { name: 'owner/name' }],
    ['owner-1/name_2.x', { name: 'owner-1/name_2.x' }],
    ['owner/name@v1.0', { name: 'owner/name', revision: 'v1.0' }],
    ['owner/name/a.gguf', { name: 'owner/name', file: 'a.gguf' }],
    ['owner/name@main/sub/a.gguf', { name: 'owner/name', revision: 'main', file: 'sub/a.gguf' }],
  ])('takes %s for one', (source, id) => {
    expect(readHubId(source)).toEqual(id);
  });

  it.each([
    'name',
    './owner/name',
    '/owner/name',
    '../owner/name',
    'owner/name/',
    'a/b/c',
    'src/not-there',
    'a\\b',
    '.runs/x',
  ])('takes %s for a path', (source) => {
    expect(readHubId(source)).toBeUndefined();
  });

  it('leaves paths as they are', async () => {
    mkdirSync(join(cacheDir, 'x'));
    writeFileSync(join(cacheDir, 'x', 'y'), '');
    expect(await locateModel(join(cacheDir, 'x', 'y'))).toBe(join(cacheDir, 'x', 'y'));
  });
});
