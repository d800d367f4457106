import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { chooseSplit, folderSplits, sortSplits } from './data-files.ts';

const sort = (paths: string[], options: { readme?: string; config?: string } = {}) =>
  Object.fromEntries(sortSplits(paths, { ...options, where: 'set' }));

describe('sortSplits', () => {
  it('finds the words of splits in paths, as Hugging Face data sets do', () => {
    expect(
      sort([
        'data/train-00001-of-00002.parquet',
        'data/train-00000-of-00002.parquet',
        'data/test-00000-of-00001.parquet',
        'dev.jsonl.gz',
        'my_eval_set.csv',
        'retrain.jsonl', // no word of its own
        'README.md',
        '.cache/train.jsonl',
      ]),
    ).toEqual({
      train: ['data/train-00000-of-00002.parquet', 'data/train-00001-of-00002.parquet'],
      test: ['data/test-00000-of-00001.parquet', 'my_eval_set.csv'],
      validation: ['dev.jsonl.gz'],
    });
    expect(sort(['training/test.json', 'validation/a.json'])).toEqual({
      train: ['training/test.json'],
      validation: ['validation/a.json'],
    });
    expect(sort(['b.jsonl', 'a.jsonl', 'dataset_infos.json'])).toEqual({ train: ['a.jsonl', 'b.jsonl'] });
    expect(sort(['notes.txt'])).toEqual({});
  });

  const readme = (configs: string): string => `---\nlicense: mit\nconfigs:\n${configs}\n---\n# Words\n`;

  it('follows the configs of a README', () => {
    const configs = readme(
      [
        '- config_name: pairs',
        '  default: true',
        '  data_files:',
        '  - split: train',
        '    path: pairs/*.jsonl',
        '  - split: heldout',
        '    path: [pairs/deep/**/b.jsonl]',
        '- config_name: texts',
        '  data_files: texts/a?.csv',
      ].join('\n'),
    );
    const files = ['pairs/a.jsonl', 'pairs/deep/x/y/b.jsonl', 'texts/a1.csv', 'texts/abc.csv'];
    expect(sort(files, { readme: configs })).toEqual({
      train: ['pairs/a.jsonl'],
      heldout: ['pairs/deep/x/y/b.jsonl'],
    });
    expect(sort(files, { readme: configs, config: 'texts' })).toEqual({ train: ['texts/a1.csv'] });
    expect(() => sort(files, { readme: configs, config: 'text' })).toThrow(
      'set: expected one of the configurations pairs, texts, received text',
    );
    const elsewhere = sortSplits(['pairs/a.jsonl'], { readme: configs, where: 'set' });
    expect(chooseSplit(elsewhere, 'train', 'set')).toEqual(['pairs/a.jsonl']);
    expect(() => chooseSplit(elsewhere, 'heldout', 'set')).toThrow(
      'set: expected the files that README.md names for the split heldout, received none of them',
    );
    // A head without configs, and one that is no YAML.
    for (const head of ['---\nlicense: mit\n---\n', '---\n{\n---\n', 'no head']) {
      expect(sort(['test.csv'], { readme: head })).toEqual({ test: ['test.csv'] });
    }
  });
});

describe('folderSplits', () => {
  it('names the files of a split by their whole path', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'heed-splits-'));
    for (const name of ['train.jsonl', 'sub/test.jsonl', 'sub/notes.md']) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), '{}\n');
    }
    const splits = await folderSplits(folder);
    expect(chooseSplit(splits, undefined, folder)).toEqual([join(folder, 'train.jsonl')]);
    expect(chooseSplit(splits, 'test', folder)).toEqual([join(folder, 'sub/test.jsonl')]);
    expect(() => chooseSplit(splits, 'tests', folder)).toThrow(
      `${folder}: expected a split test | train, received tests. Name the split, as in --split test`,
    );
    expect(() => chooseSplit(new Map(), undefined, 'empty')).toThrow('empty: expected data files (.jsonl,');
    // Without a train split, the only one is meant.
    expect(chooseSplit(new Map([['test', ['a']]]), undefined, 'x')).toEqual(['a']);
  });
});
