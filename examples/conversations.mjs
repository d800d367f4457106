/**
 * Rows as conversations, for a model with a chat template: a `prompt` of text becomes a turn of the user; `completion`,
 * `chosen` and `rejected` become turns of the assistant. Rows that are conversations stay as they are. Characters are counted
 * in the contents of all messages. Rows without any of those columns, such as ties, are left out.
 *
 *     node examples/conversations.mjs <rows> <out.jsonl> [most characters of prompt and completion] [keep every n-th row]
 *       [column=value,value: only rows with one of these values]
 */
import { fileStream, filterStream, flatMapStream, writeRows } from 'heed/data';

const [source, target, longest = Number.POSITIVE_INFINITY, every = 1, where = ''] = process.argv.slice(2);
if (target === undefined) {
  console.error(
    'usage: node examples/conversations.mjs <rows> <out.jsonl> [characters] [every] [column=value,value]',
  );
  process.exit(2);
}
const sides = ['completion', 'chosen', 'rejected'];
const turns = (role, value) => (typeof value === 'string' ? [{ role, content: value }] : value);
const characters = (value = '') =>
  typeof value === 'string' ? value.length : value.reduce((sum, { content }) => sum + content.length, 0);
const [column, values = ''] = where.split('=');

let fitting = 0;
const short = filterStream(
  fileStream([source]),
  ({ columns }) =>
    sides.some((side) => columns[side] !== undefined) &&
    (where === '' || values.split(',').includes(String(columns[column]))) &&
    sides.every((side) => characters(columns.prompt) + characters(columns[side]) <= Number(longest)),
);
const conversations = flatMapStream(short, ({ where, columns }) => {
  if (fitting++ % Number(every) !== 0) return [];
  const answers = sides
    .filter((side) => columns[side] !== undefined)
    .map((side) => [side, turns('assistant', columns[side])]);
  return [{ where, columns: { prompt: turns('user', columns.prompt), ...Object.fromEntries(answers) } }];
});
console.log(`${await writeRows(target, conversations)} rows in ${target}`);
