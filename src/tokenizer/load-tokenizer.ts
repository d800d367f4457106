import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CheckpointError } from '../core/errors.ts';
import { readGguf } from '../models/gguf.ts';
import { type HubOptions, locateModel } from '../models/hub.ts';
import { ggufTokenizerFiles } from './gguf-tokenizer.ts';
import { additionalTemplatesFolder, hfTokenizerFiles, readHfTokenizer } from './hf-tokenizer.ts';
import { isPieceVocabulary, readLlama2cTokenizer, readPieceVocabulary } from './llama2c-tokenizer.ts';
import type { Tokenizer } from './tokenizer.ts';

/**
 * Loads the tokenizer of a folder, a file or a hub id (`owner/name`, fetched as for `loadModel`), by what is there:
 *
 * - a folder: `tokenizer.json` (with its configuration and chat template files), else a `vocab.json` of pieces with
 *   scores, else `tokenizer.bin`, else the only `tok<number>.bin`;
 * - a file: `tokenizer.json` or `vocab.json` as above, any `.bin` as a llama2.c tokenizer, the one inside a `.gguf`.
 *
 * @throws CheckpointError when nothing is there, the form is not supported, or a file is damaged
 */
export async function loadTokenizer(source: string, options: HubOptions = {}): Promise<Tokenizer> {
  const folderOrFile = await locateModel(source, { ...options, weights: false });
  const found = await stat(folderOrFile).catch((cause: unknown) => {
    throw new CheckpointError({
      where: 'loadTokenizer',
      expected: 'a folder or file',
      received: `${folderOrFile}, which does not exist`,
      fix: 'Check the path; relative paths start at the working directory',
      cause,
    });
  });
  if (found.isDirectory()) return loadFolder(folderOrFile);
  const name = basename(folderOrFile);
  if (name.endsWith('.gguf'))
    return readHfTokenizer(ggufTokenizerFiles(readGguf(folderOrFile)), folderOrFile);
  if (name === 'tokenizer.json') return loadHf(dirname(folderOrFile));
  if (name.endsWith('.bin')) return readLlama2cTokenizer(await readFile(folderOrFile), name, folderOrFile);
  if (name.endsWith('.json')) {
    const tokenizer = await tryPieceVocabulary(folderOrFile);
    if (tokenizer !== undefined) return tokenizer;
  }
  throw new CheckpointError({
    where: 'loadTokenizer',
    expected:
      'tokenizer.json, a vocab.json of pieces with scores, a llama2.c tokenizer (.bin) or a .gguf file',
    received: folderOrFile,
    fix: 'Pass the folder that holds the tokenizer files',
  });
}

async function loadFolder(folder: string): Promise<Tokenizer> {
  const names = new Set(await readdir(folder));
  if (names.has('tokenizer.json')) return loadHf(folder);
  if (names.has('vocab.json')) {
    const tokenizer = await tryPieceVocabulary(join(folder, 'vocab.json'));
    if (tokenizer !== undefined) return tokenizer;
  }
  const binaries = names.has('tokenizer.bin')
    ? ['tokenizer.bin']
    : [...names].filter((name) => /^tok\d+\.bin$/.test(name)).sort();
  if (binaries.length > 1) {
    throw new CheckpointError({
      where: folder,
      expected: 'one tokenizer',
      received: binaries.join(', '),
      fix: 'Pass the path of the one that belongs to the model',
    });
  }
  const binary = binaries[0];
  if (binary !== undefined) {
    const path = join(folder, binary);
    return readLlama2cTokenizer(await readFile(path), binary, path);
  }
  const other = ['tokenizer.model', 'vocab.json', 'merges.txt', 'vocab.txt', 'tokenizer_config.json'].filter(
    (name) => names.has(name),
  );
  throw new CheckpointError({
    where: folder,
    expected: 'tokenizer.json, a vocab.json of pieces with scores, tokenizer.bin or tok<number>.bin',
    received: other.length === 0 ? 'none of them' : `only ${other.join(', ')}`,
    fix:
      other.length === 0
        ? 'Pass the folder or file that holds the tokenizer'
        : 'Save the tokenizer with transformers (save_pretrained of a fast tokenizer) to get tokenizer.json',
  });
}

async function loadHf(folder: string): Promise<Tokenizer> {
  const files = new Map<string, Uint8Array>();
  const names = new Set(await readdir(folder));
  for (const name of hfTokenizerFiles) {
    if (names.has(name)) files.set(name, await readFile(join(folder, name)));
  }
  if (names.has(additionalTemplatesFolder)) {
    for (const name of (await readdir(join(folder, additionalTemplatesFolder))).sort()) {
      const file = `${additionalTemplatesFolder}/${name}`;
      if (name.endsWith('.jinja')) files.set(file, await readFile(join(folder, file)));
    }
  }
  return readHfTokenizer(files, folder);
}

/** The tokenizer of a `vocab.json` that lists pieces; undefined when it is another kind of vocabulary. */
async function tryPieceVocabulary(path: string): Promise<Tokenizer | undefined> {
  const bytes = await readFile(path);
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new CheckpointError({
      where: path,
      expected: 'valid JSON',
      received: cause instanceof Error ? cause.message : String(cause),
      cause,
    });
  }
  return isPieceVocabulary(json)
    ? readPieceVocabulary(json, new Map([[basename(path), bytes]]), path)
    : undefined;
}
