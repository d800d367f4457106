/**
 * The first sentences of stories as prompts, for online methods and a model of stories.
 *
 *     node examples/story-openings.mjs <rows with a text> <out.jsonl>
 */
import { fileStream, flatMapStream, writeRows } from 'heed/data';

const [source, target] = process.argv.slice(2);
if (target === undefined) {
  console.error('usage: node examples/story-openings.mjs <rows> <out.jsonl>');
  process.exit(2);
}
const openings = flatMapStream(fileStream([source]), ({ where, columns }) => {
  // Without speech in it, which a reward may ask for.
  const [first] = /^[^.!?"]+[.!?](?=\s)/.exec(String(columns.text)) ?? [];
  return first === undefined ? [] : [{ where, columns: { prompt: first } }];
});
console.log(`${await writeRows(target, openings)} rows in ${target}`);
