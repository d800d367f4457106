/**
 * Rows of texts as conversations, for a model with a chat template: `prompt` becomes a turn of the user; `completion`, `chosen`
 * and `rejected` become turns of the assistant.
 *
 *     node examples/conversations.mjs <rows> <out.jsonl> [most characters of prompt and completion] [keep every n-th row]
 */
import { fileStream, filterStream, flatMapStream, writeRows } from 'heed/data';

const [source, target, longest = Number.POSITIVE_INFINITY, every = 1] = process.argv.slice(2);
if (target === undefined) {
  console.error('usage: node examples/conversations.mjs <rows> <out.jsonl> [characters] [every]');
  process.exit(2);
}
const sides = ['completion', 'chosen', 'rejected'];
const turn = (role, content) => [{ role, content }];

let fitting = 0;
const short = filterStream(fileStream([source]), ({ columns }) =>
  sides.every((side) => columns.prompt.length + (columns[side]?.length ?? 0) <= Number(longest)),
);
const conversations = flatMapStream(short, ({ where, columns }) => {
  if (fitting++ % Number(every) !== 0) return [];
  const answers = sides
    .filter((side) => columns[side] !== undefined)
    .map((side) => [side, turn('assistant', columns[side])]);
  return [{ where, columns: { prompt: turn('user', columns.prompt), ...Object.fromEntries(answers) } }];
});
console.log(`${await writeRows(target, conversations)} rows in ${target}`);
