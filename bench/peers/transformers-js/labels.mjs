/**
 * Logits of encoders and reward models that `heed convert --to onnx` wrote, by transformers.js in Node, against those that
 * transformers (Python) recorded.
 *
 *     npm run build
 *     npm install --prefix bench/peers/transformers-js --ignore-scripts
 *     node bench/peers/transformers-js/labels.mjs
 *
 * The tiny models of test/golden/data, two rows of which one is padded. Encoders are loaded by
 * AutoModelForSequenceClassification; decoders with a score head, whose classes transformers.js lacks, by PreTrainedModel.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AutoModelForSequenceClassification, env, PreTrainedModel, Tensor } from '@huggingface/transformers';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const golden = join(root, 'test/golden/data');
const place = mkdtempSync(join(tmpdir(), 'heed-tjs-'));
env.allowRemoteModels = false;
env.localModelPath = place;
const long = (rows) =>
  new Tensor('int64', BigInt64Array.from(rows.flat(), BigInt), [rows.length, rows[0].length]);

/** Inputs and the logits that transformers (Python) recorded. */
function recorded(name) {
  const { ids, counted, types, scores, sequences } = JSON.parse(
    readFileSync(join(golden, name, 'recorded.json'), 'utf8'),
  );
  if (sequences === undefined) {
    return {
      inputs: {
        input_ids: long(ids),
        attention_mask: long(counted),
        ...(types === undefined ? {} : { token_type_ids: long(types) }),
      },
      wanted: scores.flat(),
    };
  }
  const width = Math.max(...sequences.map((row) => row.length));
  const fill = (row, values) => [...values, ...Array(width - row.length).fill(0)];
  return {
    inputs: {
      input_ids: long(sequences.map((row) => fill(row, row))),
      attention_mask: long(
        sequences.map((row) =>
          fill(
            row,
            row.map(() => 1),
          ),
        ),
      ),
    },
    wanted: scores,
  };
}

let failed = 0;
try {
  for (const name of ['bert-pairs', 'bert-relu', 'modernbert-cls', 'modernbert-options', 'llama-score']) {
    const convert = ['convert', join(golden, name), join(place, name), '--to', 'onnx', '--quiet'];
    const converted = spawnSync(process.execPath, [join(root, 'dist/cli/main.js'), ...convert], {
      encoding: 'utf8',
    });
    if (converted.status !== 0) throw new Error(converted.stderr);
    const kind = name.includes('bert') ? AutoModelForSequenceClassification : PreTrainedModel;
    const model = await kind.from_pretrained(name, { dtype: 'fp32' });
    const { inputs, wanted } = recorded(name);
    const { logits } = await model(inputs);
    const largest = Math.max(...wanted.map(Math.abs));
    const error = Math.max(...wanted.map((number, at) => Math.abs(number - logits.data[at]))) / largest;
    if (!(error < 1e-5)) failed++;
    const verdict = error < 1e-5 ? 'equal ' : 'DIFFER';
    process.stdout.write(`${verdict} ${name}: ${error.toExponential(1)} of the largest logit\n`);
    await model.dispose();
  }
} finally {
  rmSync(place, { recursive: true });
}
process.exitCode = failed === 0 ? 0 : 1;
