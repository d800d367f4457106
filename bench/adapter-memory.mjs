/**
 * Peak memory of one DPO step on one pair of 512 tokens at the size of SmolLM2-135M (random weights), by what is trained.
 * Each variant runs in a process of its own; the peak is that of the process (VmHWM), Node.js and ONNX Runtime included.
 *
 *     npm run build && node bench/adapter-memory.mjs [variant …]
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { createRng } from '../dist/core/index.js';
import { createEngine } from '../dist/engine/index.js';
import { attachLora, buildModel, defaultLora, quantizeModel } from '../dist/models/index.js';
import { allocateParameters, initialize } from '../dist/nn/index.js';
import { adamW } from '../dist/optim/index.js';
import { pairLosses, pairwiseStep, sequenceLogProbs, train } from '../dist/parts/index.js';

const print = (line) => process.stdout.write(`${line}\n`);
const tokens = 512;
const variants = {
  full: {},
  'full, checkpointing': { checkpointing: true },
  lora: { lora: true },
  'lora, checkpointing': { lora: true, checkpointing: true },
  'lora, 4-bit base, checkpointing': { lora: true, checkpointing: true, bits: 4 },
  'lora, dropout, checkpointing': { lora: true, checkpointing: true, dropout: 0.05 },
};

async function child({ lora = false, checkpointing = false, bits, dropout = 0 }) {
  const plain = buildModel({
    ...{ architectures: ['LlamaForCausalLM'], model_type: 'llama', tie_word_embeddings: true },
    ...{ hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 30, vocab_size: 49152 },
    ...{ num_attention_heads: 9, num_key_value_heads: 3, max_position_embeddings: 8192 },
  });
  let loaded = { model: plain, parameters: allocateParameters(plain.parameters) };
  initialize(loaded.parameters, createRng(1));
  if (bits !== undefined) loaded = quantizeModel(loaded, { bits });
  const reference = loaded;
  const config = { ...defaultLora, r: 16, alpha: 32, dropout };
  const { model, parameters } = lora ? attachLora(loaded, config) : loaded;
  const engine = await createEngine();
  const rng = createRng(2);
  const sequence = (row) => ({
    ids: Array.from({ length: tokens }, (_, t) => rng.integer(49152, row, t)),
    mask: Array.from({ length: tokens }, (_, t) => (t < tokens / 2 ? 0 : 1)),
  });
  const [chosen, rejected] = [sequence(0), sequence(1)];
  const scores = await sequenceLogProbs([chosen, rejected], {
    ...{ engine, ...reference, batchSize: 2, bucket: 16 },
  });
  const started = performance.now();
  let loss = 0;
  await train({
    ...{ engine, model, parameters, evaluation: [], clock: () => performance.now(), rng: createRng(0) },
    step: pairwiseStep({
      beta: 0.1,
      loss: pairLosses.sigmoid({ beta: 0.1, labelSmoothing: 0 }),
    }),
    examples: [{ chosen, rejected, reference: { chosen: scores[0], rejected: scores[1] } }],
    optimizer: adamW({ size: parameters.flat.length, beside: parameters.flat }),
    schedule: () => 1e-4,
    settings: {
      ...{
        batchSize: 1,
        microBatchSize: 1,
        evaluationBatchSize: 1,
        totalSteps: 2,
        shuffle: false,
        maxGradNorm: 1,
      },
      ...{ bucket: 16, logEvery: 1, evaluateEvery: 0, saveEvery: 0, gradientCheckpointing: checkpointing },
    },
    hooks: {
      log: (record) => {
        loss = record.loss;
      },
      progress: () => {},
      save: async () => {},
      interrupted: () => false,
    },
  });
  const seconds = (performance.now() - started) / 2000;
  const { maxRSS } = process.resourceUsage(); // KiB
  print(JSON.stringify({ peak: maxRSS * 1024, seconds, trained: parameters.count, loss }));
  engine.dispose();
}

const [first, second, ...rest] = process.argv.slice(2);
if (first === '--child') await child(variants[second]);
else {
  const names =
    first === undefined
      ? Object.keys(variants)
      : [first, second, ...rest].filter((name) => name !== undefined);
  print('| trained | parameters trained | peak MB | s per step |\n|---|---:|---:|---:|');
  for (const name of names) {
    const { stdout, stderr } = spawnSync(
      process.execPath,
      [fileURLToPath(import.meta.url), '--child', name],
      {
        encoding: 'utf8',
      },
    );
    if (stdout === '') throw new Error(stderr);
    const { peak, seconds, trained } = JSON.parse(stdout);
    print(
      `| ${name} | ${(trained / 1e6).toFixed(2)} M | ${Math.round(peak / 1e6)} | ${seconds.toFixed(1)} |`,
    );
  }
}
