/**
 * Token ids of a GGUF file's vocabulary by llama.cpp and by heed: they must be equal.
 *
 *     npm run build
 *     npm install --prefix bench/peers/llama-cpp --ignore-scripts
 *     node bench/peers/llama-cpp/compare.mjs model.gguf [file of texts, one a line …]
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';
import { loadTokenizer } from '../../../dist/index.js';

const [file, ...textFiles] = process.argv.slice(2);
const print = (line) => process.stdout.write(`${line}\n`);
const recorded = fileURLToPath(new URL('../../../test/golden/data/gguf/tokenizers.json', import.meta.url));
const hard = JSON.parse(readFileSync(recorded, 'utf8')).tokenizers['tokenizer-gpt-2'].map(({ text }) => text);
const lines = textFiles.flatMap((path) => readFileSync(path, 'utf8').split('\n'));
const texts = [...hard, ...lines.filter((line) => line !== '')];

const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error });
const theirs = await llama.loadModel({ modelPath: file, vocabOnly: true });
const tokenizer = await loadTokenizer(file);
let differ = 0;
for (const text of texts) {
  const wanted = theirs.tokenize(text, true);
  const got = tokenizer.encode(text, { addSpecial: false, parseSpecial: true });
  if (wanted.join() === got.join()) continue;
  differ++;
  if (differ > 5) continue;
  print(`ids differ for ${JSON.stringify(text).slice(0, 100)}:\n  llama.cpp ${wanted}\n  heed      ${got}`);
}
print(`${texts.length} texts, ${differ} with other ids (llama.cpp ${llama.llamaCppRelease.release})`);
await llama.dispose();
process.exitCode = differ === 0 ? 0 : 1;
