import fc from 'fast-check';
import pc from 'picocolors';
import { describe, expect, it } from 'vitest';
import { createProgress, progressMode } from './progress.ts';
import { rateOf, renderEnd, renderStage, secondsLeft, startStage, updateStage } from './progress-line.ts';

const plain = pc.createColors(false);

describe('a stage', () => {
  // 100 steps, one each 500 ms: 2/s, so 80 steps are left after 20, which is 40 s.
  const steady = Array.from({ length: 20 }, (_, at) => at + 1).reduce(
    (state, step) => updateStage(state, step * 500, step, { loss: 2.5 }),
    startStage('train', 0, 100),
  );

  it('knows its rate and the time left, which runs down between updates', () => {
    expect(rateOf(steady)).toBeCloseTo(2, 12);
    expect(secondsLeft(steady, 10_000)).toBeCloseTo(40, 9);
    expect(secondsLeft(steady, 13_000)).toBeCloseTo(37, 9);
    expect(secondsLeft(steady, 99_000)).toBe(0);
  });

  it('follows a change of rate within the window of 15 s and forgets what was before', () => {
    // 20 steps at 2/s, then 60 s at 100/s.
    let state = steady;
    for (let at = 1; at <= 6_000; at++) state = updateStage(state, 10_000 + at * 10, 20 + at);
    expect(rateOf(state)).toBeCloseTo(100, 6);
    expect(state.samples.length).toBeLessThan(200);
  });

  it('has a rate from one slow step', () => {
    const slow = updateStage(startStage('train', 0, 10), 40_000, 1);
    expect(rateOf(slow)).toBeCloseTo(0.025, 12);
    expect(renderStage(slow, 40_000, 100, plain)).toContain('40 s/step');
  });

  it('shows name, bar, count, rate, figures and time left', () => {
    expect(renderStage(steady, 10_000, 100, plain)).toBe(
      `train  ${'━'.repeat(5)}${'─'.repeat(19)}  20/100 steps · 2/s · loss 2.5 · 0:40 left`,
    );
  });

  it('counts what was done before a resumed run, but not in its rates', () => {
    const resumed = updateStage(startStage('train', 0, 100, 'steps', 60), 4_000, 62);
    expect(renderStage(resumed, 4_000, 100, plain)).toContain('62/100 steps · 2 s/step · 1:16 left');
    expect(renderEnd(resumed, 4_000, 'done', plain)).toBe('✓ train  62 steps in 0:04 · 2 s/step');
  });

  it('counts up when the total is unknown', () => {
    const rows = updateStage(startStage('read', 0, undefined, 'rows'), 2_000, 12_000);
    expect(renderStage(rows, 2_000, 100, plain)).toBe('read  12,000 rows · 6,000/s · 0:02');
  });

  it('leaves a line behind', () => {
    expect(renderEnd(steady, 10_000, 'done', plain)).toBe('✓ train  20 steps in 0:10 · 2/s · loss 2.5');
    expect(renderEnd(steady, 10_000, 'stopped', plain)).toBe(
      '■ train  stopped at 20/100 steps in 0:10 · 2/s · loss 2.5',
    );
  });

  it('leaves behind as many figures as fit', () => {
    const many = updateStage(steady, 10_001, 20, { accuracy: 0.5 });
    const full = '✓ train  20 steps in 0:10 · 2/s · loss 2.5 · accuracy 0.5';
    expect(renderEnd(many, 10_001, 'done', plain, full.length)).toBe(full);
    expect(renderEnd(many, 10_001, 'done', plain, full.length - 1)).toBe(
      '✓ train  20 steps in 0:10 · 2/s · loss 2.5',
    );
  });

  it('never exceeds the width, and gives up figures before the bar and the bar before the count', () => {
    const many = updateStage(steady, 10_001, 20, { accuracy: 0.5, margin: 1.25 });
    fc.assert(
      fc.property(fc.integer({ min: 10, max: 140 }), (width) => {
        expect(renderStage(many, 10_001, width, plain).length).toBeLessThanOrEqual(width);
      }),
    );
    expect(renderStage(many, 10_001, 70, plain)).toMatch(/━.*20\/100 steps · 2\/s · 0:40 left$/);
    expect(renderStage(many, 10_001, 45, plain)).toBe('train  20/100 steps · 2/s · 0:40 left');
  });
});

/** A terminal that understands what the live lines use: text, newline, cursor up, erase below. */
function terminal(columns = 80) {
  const lines: string[] = [''];
  let row = 0;
  let writes = 0;
  return {
    isTTY: true,
    columns,
    write(text: string) {
      writes++;
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the terminal's own codes
      for (const part of text.split(/(\u001b\[\d*[AJ]|\r|\n)/)) {
        // biome-ignore lint/suspicious/noControlCharactersInRegex: the terminal's own codes
        const code = /^\u001b\[(\d*)([AJ])$/.exec(part);
        if (code?.[2] === 'A') row -= Number(code[1]);
        else if (code?.[2] === 'J') lines.splice(row, lines.length, '');
        else if (part === '\n') lines[++row] ??= '';
        else if (part !== '\r') lines[row] += part;
      }
    },
    screen: () => lines.join('\n'),
    writes: () => writes,
  };
}

describe('live progress', () => {
  const start = (columns?: number) => {
    const stream = terminal(columns);
    const time = { now: 0 };
    const progress = createProgress({ stream, mode: 'live', colors: plain, clock: () => time.now });
    return { stream, time, progress };
  };

  it('rewrites one line per stage and keeps one for each that ended', () => {
    const { stream, time, progress } = start();
    const read = progress.start('read', { unit: 'rows', total: 10 });
    time.now = 1000;
    read.update(5);
    expect(stream.screen()).toBe(`read  ${'━'.repeat(12)}${'─'.repeat(12)}  5/10 rows · 5/s · 0:01 left\n`);
    time.now = 2000;
    read.update(10);
    read.end();
    const train = progress.start('train', { total: 4 });
    time.now = 3000;
    train.update(1, { loss: 3 });
    expect(stream.screen()).toBe(
      `✓ read  10 rows in 0:02 · 5/s\ntrain  ${'━'.repeat(6)}${'─'.repeat(18)}  1/4 steps · 1/s · loss 3 · 0:03 left\n`,
    );
    train.end({ loss: 2 });
    train.end();
    train.update(4);
    expect(stream.screen()).toBe('✓ read  10 rows in 0:02 · 5/s\n✓ train  1 step in 0:01 · 1/s · loss 2\n');
  });

  it('draws two running stages below notes and results', () => {
    const { stream, time, progress } = start();
    const outer = progress.start('outer', { total: 2 });
    progress.start('inner', { total: 2 });
    time.now = 500;
    outer.update(1);
    progress.note('careful', 'warning');
    progress.aside(() => stream.write('a result\n'));
    progress.record({ event: 'metrics' });
    progress.record({ event: 'metrics' }, 'in words');
    expect(
      stream
        .screen()
        .split('\n')
        .map((line) => line.slice(0, 15).trim()),
    ).toEqual(['warning careful', 'a result', 'in words', 'outer  ━━━━━━━━', 'inner  ────────', '']);
    progress.close();
    expect(stream.screen()).toContain('■ outer  stopped at 1/2 steps');
    expect(stream.screen()).toContain('■ inner  stopped at 0/2 steps');
  });

  it('draws at most ten times a second', () => {
    const { stream, time, progress } = start();
    const stage = progress.start('train', { total: 10_000 });
    const before = stream.writes();
    for (let step = 1; step <= 10_000; step++) {
      time.now = step / 10;
      stage.update(step);
    }
    // One second in all.
    expect(stream.writes() - before).toBeLessThanOrEqual(10);
    expect(stream.writes() - before).toBeGreaterThanOrEqual(9);
  });
});

describe('JSON lines', () => {
  it('writes start, at most one line each 5 s, and end', () => {
    const lines: unknown[] = [];
    const time = { now: 0 };
    const progress = createProgress({
      stream: {
        write: (text: string) =>
          lines.push(
            ...text
              .trimEnd()
              .split('\n')
              .map((line) => JSON.parse(line)),
          ),
      },
      mode: 'json',
      colors: plain,
      clock: () => time.now,
    });
    const stage = progress.start('train', { total: 20 });
    for (let step = 1; step <= 12; step++) {
      time.now = step * 1000;
      stage.update(step, { loss: step });
    }
    stage.end({ loss: 0.5 });
    progress.note('saved');
    progress.record({ event: 'metrics', loss: 1 }, 'in words');
    const open = progress.start('evaluate');
    progress.close();
    open.end();
    const stageFacts = { stage: 'train', unit: 'steps', total: 20 };
    expect(lines).toEqual([
      { event: 'start', ...stageFacts, done: 0, seconds: 0, rate: null, secondsLeft: null, figures: {} },
      {
        event: 'progress',
        ...stageFacts,
        done: 5,
        seconds: 5,
        rate: 1,
        secondsLeft: 15,
        figures: { loss: 5 },
      },
      {
        event: 'progress',
        ...stageFacts,
        done: 10,
        seconds: 10,
        rate: 1,
        secondsLeft: 10,
        figures: { loss: 10 },
      },
      {
        event: 'end',
        ...stageFacts,
        done: 12,
        seconds: 12,
        rate: 1,
        secondsLeft: null,
        figures: { loss: 0.5 },
      },
      { event: 'note', level: 'info', text: 'saved' },
      { event: 'metrics', loss: 1 },
      expect.objectContaining({ event: 'start', stage: 'evaluate', total: null }),
      expect.objectContaining({ event: 'stopped', stage: 'evaluate' }),
    ]);
  });

  it('quiet leaves warnings only', () => {
    let text = '';
    const stream = { write: (part: string) => (text += part) };
    const progress = createProgress({ stream, mode: 'quiet', colors: plain, clock: () => 0 });
    progress.start('train').end();
    progress.note('saved');
    progress.note('odd', 'warning');
    expect(text).toBe('warning odd\n');
  });
});

it.each([
  [{ isTTY: true }, {}, {}, 'live'],
  [{ isTTY: true }, { CI: 'true' }, {}, 'json'],
  [{ isTTY: true }, { CI: 'false' }, {}, 'live'],
  [{ isTTY: true }, { TERM: 'dumb' }, {}, 'json'],
  [{ isTTY: true }, {}, { json: true }, 'json'],
  [{ isTTY: false }, {}, {}, 'json'],
  [{ isTTY: true }, {}, { json: true, quiet: true }, 'quiet'],
] as const)('progressMode %j %j %j is %s', (stream, env, flags, mode) => {
  const asked = { json: false, quiet: false, ...flags };
  expect(progressMode({ stream: { ...stream, write: () => {} }, env, ...asked })).toBe(mode);
});
