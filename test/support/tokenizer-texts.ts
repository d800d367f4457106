/** 500 texts, drawn from a seed, that tokenizers like to disagree on. The same strings on every machine. */
import { createRng } from '../../src/core/rng.ts';

type Draw = (bound: number) => number;

/** Code points to draw from: [first, last] of ranges that are assigned throughout. */
const scripts = {
  latin: [
    [0x61, 0x7a],
    [0x41, 0x5a],
    [0xc0, 0xd6],
    [0xd8, 0xf6],
  ],
  greek: [
    [0x391, 0x3a1],
    [0x3b1, 0x3c9],
  ],
  cyrillic: [[0x410, 0x44f]],
  hebrew: [[0x5d0, 0x5ea]],
  arabic: [
    [0x627, 0x63a],
    [0x641, 0x64a],
  ],
  devanagari: [
    [0x905, 0x914],
    [0x915, 0x928],
    [0x93e, 0x940],
  ],
  thai: [
    [0xe01, 0xe2e],
    [0xe30, 0xe33],
  ],
  kana: [
    [0x3042, 0x3093],
    [0x30a2, 0x30f3],
  ],
  han: [
    [0x4e00, 0x4fff],
    [0x5927, 0x5a00],
  ],
  hangul: [[0xac00, 0xb000]],
} as const satisfies Readonly<Record<string, readonly (readonly [number, number])[]>>;

const emoji = [
  '🙂',
  '😂',
  '❤️',
  '❤',
  '👍🏽',
  '👩‍💻',
  '👨‍👩‍👧‍👦',
  '🏳️‍🌈',
  '🇩🇪',
  '🇯🇵',
  '1️⃣',
  '🫠',
  '🦙',
  '☃',
  '✅',
];
const controls = [
  '\u0000',
  '\u0001',
  '\u0007',
  '\b',
  '\u000b',
  '\f',
  '\u001b[0m',
  '\u007f',
  '\u0085',
  '\u009f',
  '\u200b',
  '\u200d',
  '\u200e',
  '\u2028',
  '\u2029',
  '\u2060',
  '\ufeff',
  '\u00ad',
  '\ufffd',
  '\ufffe',
];
const spaces = [
  ' ',
  '  ',
  '   ',
  '\t',
  '\n',
  '\n\n',
  '\r\n',
  '\r',
  ' \n',
  '\n ',
  '\u00a0',
  '\u2003',
  '\u3000',
  '\t\t',
  '        ',
];
const contractions = [
  "it's",
  "IT'S",
  "we'll",
  "They've",
  "I'M",
  "don't",
  "he'd",
  "you're",
  "'tis",
  "rock'n'roll",
  "l'été",
  'it’s',
  "'s 'S 'll",
];
const punctuation = [
  '...',
  '!!!',
  '?!',
  '--',
  '—',
  '“”',
  '«»',
  '()',
  '[]{}',
  '<>',
  '/*',
  '*/',
  '://',
  '&&',
  '||',
  '=>',
  '!=',
  '$',
  '€',
  '^_^',
  '`',
  '\\',
  '~',
  '@',
  '#',
  '%',
  ';;',
  '．',
  '。',
  '、',
  '！',
];
const code = [
  'for (let i = 0; i < 10; i++) {',
  '\n\tx[i] ??= `a${i}`;',
  'def f(x):\n    return x ** 2',
  '#include <stdio.h>',
  'SELECT * FROM t WHERE a=1;',
  '<div class="x">',
  '</div>',
  'x->y::z()',
  'λx.x',
  'a_b_c',
  'camelCaseName',
  'SCREAMING_CASE',
  '0xFF',
  '1e-9',
  '\\n\\t',
  '"quoted"',
  "'c'",
  '// TODO',
  '\n        }\n    }\n}',
  'https://example.org/a?b=c&d=%20#e',
  'user@example.org',
  'C:\\dir\\file.txt',
  '$\\frac{1}{2}$',
  '| a | b |',
  '- [ ] item',
];
const words =
  'the of river stone kettle garden answer naïve café Zürich señor coöperate straße Ångström don antidisestablishment tokenization x y HELLO McDonald'.split(
    ' ',
  );
const marks = [
  'e\u0301',
  'a\u030a',
  'n\u0303',
  'o\u0302\u0323',
  '\u1100\u1161\u11a8',
  '\u0958',
  '\u212b',
  '\ufb01',
  '\u2460',
  '\uff21\uff22',
  '\u00bd',
  '\u33a5',
  '\u0344',
];
/** Special tokens of the families, and texts that almost are. */
const specials = [
  '<|endoftext|>',
  '<|im_start|>',
  '<|im_end|>',
  '<|begin_of_text|>',
  '<|eot_id|>',
  '<bos>',
  '<eos>',
  '<end_of_turn>',
  '<unk>',
  '<pad>',
  '<think>',
  '</think>',
  '<|im_',
  'im_end|>',
  '<s>',
  '[CLS]',
  '[MASK]',
  '<0x0A>',
  '▁',
  '▁▁',
  'Ġ',
  '##ing',
];

const pickOne = <T>(list: readonly T[], draw: Draw): T => list[draw(list.length)]!;

function scriptWord(name: keyof typeof scripts, draw: Draw): string {
  return Array.from({ length: 1 + draw(7) }, () => {
    const [first, last] = pickOne<readonly [number, number]>(scripts[name], draw);
    return String.fromCodePoint(first + draw(last - first + 1));
  }).join('');
}

const digits = (draw: Draw): string => Array.from({ length: 1 + draw(9) }, () => draw(10)).join('');
const number = (draw: Draw): string =>
  pickOne(
    [
      digits,
      (d: Draw) => `${digits(d)}.${digits(d)}`,
      (d: Draw) => `-${digits(d)},${digits(d)}`,
      () => '١٢٣',
      () => '２０２６',
      () => 'Ⅷ',
      () => 'x²',
    ],
    draw,
  )(draw);

const kinds: readonly ((draw: Draw) => string)[] = [
  (draw) => pickOne(words, draw),
  (draw) => pickOne(emoji, draw),
  (draw) => pickOne(controls, draw),
  (draw) => pickOne(spaces, draw),
  (draw) => pickOne(contractions, draw),
  (draw) => pickOne(punctuation, draw),
  (draw) => pickOne(code, draw),
  (draw) => pickOne(marks, draw),
  (draw) => pickOne(specials, draw),
  number,
  (draw) => scriptWord(pickOne(Object.keys(scripts) as (keyof typeof scripts)[], draw), draw),
  (draw) => String.fromCodePoint(pickOne([0x1d400, 0x10400, 0x20000, 0x1f900], draw) + draw(40)),
];

/** Pieces of one kind mostly, so that each kind is seen with its own neighbours, joined by spaces or by nothing. */
function textOf(index: number, draw: Draw): string {
  const main = kinds[index % kinds.length]!;
  const glue = pickOne(['', ' ', ' ', '  ', '\n'], draw);
  const pieces = Array.from({ length: 1 + draw(9) }, () =>
    (draw(3) === 0 ? pickOne(kinds, draw) : main)(draw),
  );
  const text = pieces.join(glue);
  return [text, ` ${text}`, `${text} `, `\n${text}`, `  ${text}\n`][draw(8)] ?? text;
}

const rng = createRng(20261127);

function drawTexts(count: number): string[] {
  const texts = new Set(['', ' ', '\n', 'a']);
  for (let index = 0; texts.size < count; index++) {
    let draws = 0;
    texts.add(textOf(index, (bound) => rng.integer(bound, index, draws++)));
  }
  return [...texts];
}

/** 500 different texts. */
export const tokenizerTexts: readonly string[] = drawTexts(500);
