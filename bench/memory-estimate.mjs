/**
 * The memory that `--dry-run` estimates beside the peak that the run then takes, Node.js and ONNX Runtime included, on three
 * configurations with random weights. Each command runs in a process of its own; the peak is that of the process.
 *
 *     npm run build && node bench/memory-estimate.mjs [sft | dpo | ppo …]
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRng } from '../dist/core/index.js';
import { buildModel, saveModel, scoreModelFrom } from '../dist/models/index.js';
import { allocateParameters, initialize } from '../dist/nn/index.js';
import { trainBpe } from '../dist/tokenizer/index.js';

const heed = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'heed-memory-'));
const at = (name) => join(folder, name);
const rng = createRng(5);
const letters = 'abcdefghijklmnopqrstuvwxyz';
/** Text of so many one-letter words: a token each, for a tokenizer that has learned nothing. */
const text = (row, words) =>
  Array.from({ length: words }, (_, t) => letters[rng.integer(26, row, t)]).join('');
const rows = (name, count, make) => {
  writeFileSync(
    at(name),
    Array.from({ length: count }, (_, row) => `${JSON.stringify(make(row))}\n`).join(''),
  );
  return at(name);
};

function model(name, config, head = false) {
  const tokenizer = trainBpe([letters], { vocabSize: 262, specialTokens: { bos: '<s>', eos: '</s>' } });
  const full = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    tie_word_embeddings: true,
    // What is sampled has to be text: for such models the tokenizer says how many tokens there are.
    vocab_size: tokenizer.vocabSize,
    ...config,
  };
  const built = buildModel(full);
  let loaded = { model: built, parameters: allocateParameters(built.parameters) };
  initialize(loaded.parameters, createRng(1));
  if (head) loaded = scoreModelFrom(loaded, {});
  mkdirSync(at(name), { recursive: true });
  const saved = head ? { ...full, architectures: ['LlamaForSequenceClassification'], num_labels: 1 } : full;
  saveModel(at(name), {
    config: saved,
    parameters: loaded.parameters,
    files: Object.fromEntries(tokenizer.files),
  });
  return at(name);
}

const small = {
  ...{ hidden_size: 256, intermediate_size: 688, num_hidden_layers: 8, vocab_size: 4096 },
  ...{ num_attention_heads: 8, num_key_value_heads: 4, max_position_embeddings: 1024 },
};
const { vocab_size: _vocabulary, ...sampled } = small;
const smol = {
  ...{ hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 30, vocab_size: 49152 },
  ...{ num_attention_heads: 9, num_key_value_heads: 3, max_position_embeddings: 8192 },
};
const configurations = {
  sft: {
    title: 'sft, 7 M, 8 × 256 tokens',
    flags: () => [
      ...[
        'sft',
        '--model',
        model('small', small),
        '--max-length',
        '256',
        '--batch-size',
        '8',
        '--max-steps',
        '3',
      ],
      ...['--data', rows('texts.jsonl', 24, (row) => ({ text: text(row, 250) }))],
    ],
  },
  dpo: {
    title: 'dpo, 135 M, LoRA, 1 pair × 512 tokens',
    flags: () => [
      ...['dpo', '--model', model('smol', smol), '--lora', '--max-length', '512', '--batch-size', '1'],
      ...['--max-steps', '2', '--data'],
      rows('pairs.jsonl', 2, (row) => ({
        ...{ prompt: text(3 * row, 250), chosen: text(3 * row + 1, 255), rejected: text(3 * row + 2, 255) },
      })),
    ],
  },
  ppo: {
    title: 'ppo, four models of 6 M, 16 completions of 64 + 64 tokens',
    flags: () => [
      ...['ppo', '--model', model('sampled', sampled), '--reward-model', model('reward', sampled, true)],
      ...['--max-new-tokens', '64', '--batch-size', '16', '--iterations', '2', '--update-epochs', '1'],
      ...['--data', rows('prompts.jsonl', 16, (row) => ({ prompt: text(row, 62) }))],
    ],
  },
};

/** Prints the peak of the process at its end. */
const hook = `data:text/javascript,process.on('exit',()=>process.stderr.write('PEAK '+process.resourceUsage().maxRSS*1024))`;
function run(flags) {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ['--import', hook, heed, ...flags, '--json'],
    {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    },
  );
  if (status !== 0) throw new Error(stderr.slice(-2000));
  return { stdout, peak: Number(/PEAK (\d+)/.exec(stderr)[1]) };
}

const mb = (bytes) => String(Math.round(bytes / 1e6));
const chosen = process.argv.slice(2);
process.stdout.write(
  '| run | estimate MB | measured MB | estimate ÷ measured | terms MB |\n|---|---:|---:|---:|---|\n',
);
try {
  for (const [name, { title, flags }] of Object.entries(configurations)) {
    if (chosen.length > 0 && !chosen.includes(name)) continue;
    const common = [...flags(), '--output', at(`run-${name}`), '--seed', '1'];
    const plan = run([...common, '--dry-run'])
      .stdout.split('\n')
      .find((line) => line.includes('"event":"plan"'));
    const { memory } = JSON.parse(plan);
    const { peak } = run(common);
    const terms = Object.entries(memory).filter(([term]) => term !== 'total');
    const share = (memory.total / peak).toFixed(2);
    process.stdout.write(
      `| ${title} | ${mb(memory.total)} | ${mb(peak)} | ${share} | ${terms.map(([term, bytes]) => `${term} ${mb(bytes)}`).join(', ')} |\n`,
    );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
