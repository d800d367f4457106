import { describe, expect, it } from 'vitest';
import { checkLinks } from '../../scripts/check-links.mjs';

const exists = (path: string) => ['README.md', 'docs/a.md', 'src', 'docs/a b.svg'].includes(path);

describe('checkLinks', () => {
  it('accepts files, folders, headings and other hosts', () => {
    const pages = {
      'README.md':
        '# Top\n[a](docs/a.md) [b](docs/a.md#set-up-in-10-s) ![c](docs/a%20b.svg) [d](src/) [e](#top)\n' +
        '[f](https://example.org/x) [g](mailto:a@example.org)\n\n[ref]: ./docs/a.md "title"\n`[code](no.md)`\n' +
        '```md\n[block](no.md)\n```\n',
      'docs/a.md':
        '## Set-up, in `10 s`\n[up](../README.md#top) [root](/README.md)\n## Twice\n## Twice\n[x](#twice-1)\n',
    };
    expect(checkLinks(pages, exists)).toEqual([]);
  });

  it('names the page, the line and what is missing', () => {
    const pages = {
      'README.md': '# Top\n\n[a](docs/b.md) and [b](docs/a.md#nowhere)\n[c](../elsewhere.md)\n[d]: gone.md\n',
      'docs/a.md': '```\n## nowhere\n```\n',
    };
    expect(checkLinks(pages, exists)).toEqual([
      'README.md:3: link to docs/b.md, but there is no docs/b.md',
      'README.md:3: link to docs/a.md#nowhere, but docs/a.md has no such heading',
      'README.md:4: link to ../elsewhere.md, but there is no ../../elsewhere.md',
      'README.md:5: link to gone.md, but there is no gone.md',
    ]);
  });
});
