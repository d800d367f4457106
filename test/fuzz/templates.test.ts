/**
 * 10 000 damaged chat templates: each renders, or is refused with an error that names the template, and where it does not
 * parse its line and column. None takes long or much memory.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DataError } from '../../src/core/errors.ts';
import { createRng, type Rng } from '../../src/core/rng.ts';
import { chatFormat } from '../../src/data/chat-format.ts';
import { trainBpe } from '../../src/tokenizer/index.ts';
import { goldenFolder } from '../support/golden-model.ts';

const folder = goldenFolder('templates');
const templates = readdirSync(folder)
  .filter((name) => name.endsWith('.jinja'))
  .map((name) => readFileSync(join(folder, name), 'utf8'));
const tokenizer = trainBpe([], { vocabSize: 258, specialTokens: { bos: '<s>', eos: '</s>' } });
const messages = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'Hello {{ x }} {% if %}' },
  { role: 'assistant', content: 'Hi.' },
];
const pieces = [
  '{{',
  '}}',
  '{%',
  '%}',
  '{%-',
  '-%}',
  '{#',
  '#}',
  "'",
  '"',
  '(',
  ')',
  '[',
  ']',
  '|',
  '+',
  '~',
  '.',
  ',',
  '\\',
  '\n',
  '\u0000',
  '🙂',
  '{% endfor %}',
  '{% endif %}',
  '{% if true %}',
  '{% for i in range(100000000) %}',
  '{% for a in messages %}',
  '{% set x = x + x %}',
  '{% macro f() %}',
  '{{ f() }}',
  '{{ messages | tojson }}',
  '{{ messages[9].content }}',
  '{{ 1 / 0 }}',
  '{{ raise_exception("no") }}',
  '{{ x.y.z }}',
  '{{ range(1, 10, 0) }}',
  '* 1000000000',
  'not ',
  ' in ',
  ' is defined',
  '| trim',
  '| unknown',
  'namespace(',
  '{% break %}',
];

/** One to four changes: a stretch removed, repeated or moved, a piece of syntax put in, a character changed, the end cut off. */
function damage(template: string, rng: Rng, index: number): string {
  let text = template;
  const changes = 1 + rng.integer(4, index, 0);
  for (let change = 1; change <= changes; change++) {
    const draw = (bound: number, what: number): number =>
      rng.integer(Math.max(1, bound), index, change, what);
    const at = draw(text.length, 0);
    const length = 1 + draw(40, 1);
    const rest = text.slice(at + length);
    switch (draw(6, 2)) {
      case 0:
        text = text.slice(0, at) + rest;
        break;
      case 1:
        text = text.slice(0, at + length) + text.slice(at);
        break;
      case 2:
        text = text.slice(0, at) + text.slice(draw(text.length, 3)).slice(0, length) + rest;
        break;
      case 3:
        text = text.slice(0, at) + pieces[draw(pieces.length, 3)]! + text.slice(at);
        break;
      case 4:
        text = text.slice(0, at) + String.fromCharCode(draw(128, 3)) + text.slice(at + 1);
        break;
      default:
        text = text.slice(0, at);
    }
  }
  return text;
}

it('10 000 damaged templates render or are refused by name', { timeout: 300_000 }, () => {
  const rng = createRng(41);
  const counts = { rendered: 0, unparsed: 0, refused: 0, placed: 0 };
  let slowest = 0;
  for (let index = 0; index < 10_000; index++) {
    const template = damage(templates[index % templates.length]!, rng, index);
    const start = performance.now();
    try {
      chatFormat(tokenizer, { template }).render(messages, { addGenerationPrompt: index % 2 === 0 });
      counts.rendered++;
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      expect(error.where).toMatch(/^chat template(, line \d+, column \d+)?$/);
      if (error.expected.startsWith('messages')) counts.refused++;
      else {
        counts.unparsed++;
        if (error.where.includes('line')) counts.placed++;
      }
    }
    slowest = Math.max(slowest, performance.now() - start);
  }
  expect(counts.rendered).toBeGreaterThan(500);
  expect(counts.unparsed).toBeGreaterThan(2000);
  expect(counts.refused).toBeGreaterThan(100);
  // Without a tag before the damage there is no place to name.
  expect(counts.placed).toBeGreaterThan(0.95 * counts.unparsed);
  expect(slowest).toBeLessThan(60_000);
  if (process.env.HEED_FUZZ_COUNTS === '1')
    process.stdout.write(`${JSON.stringify({ ...counts, slowest })}\n`);
});

describe('a template that does not end', () => {
  const render = (template: string) => () => chatFormat(tokenizer, { template }).render(messages);

  it('is refused after so many steps, numbers and characters', { timeout: 300_000 }, () => {
    const loop = '{% for a in range(1000) %}';
    const end = '{% endfor %}';
    expect(render(`${loop}${loop}${loop}x${end}${end}${end}`)).toThrow(
      'more than 1000000 steps: the template does not end',
    );
    expect(render('{{ range(1000000000) | length }}')).toThrow('range: more than 100000 numbers');
    const double =
      "{% set ns = namespace(x='x') %}{% for a in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}";
    expect(render(double)).toThrow('a text of more than 33554432 characters');
    expect(render('{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}')).toThrow(
      'chat template: expected messages',
    );
  });

  it('or that does not parse has a line and a column', () => {
    const bad = '{% for m in messages %}\n{{ m.content }}\n  {% if x = %}\n{% endif %}{% endfor %}';
    expect(render(bad)).toThrow(/^chat template, line 3, column 3: expected a Jinja template/);
    expect(render('{{ a }}\n{% for m in messages %}x')).toThrow(/^chat template, line 2, column 1: /);
    const named = { ...tokenizer, chatTemplates: new Map([['rag', '{{ a }']]) };
    expect(() => chatFormat(named, { templateName: 'rag' })).toThrow(
      /^chat template "rag", line 1, column 1: /,
    );
  });
});
