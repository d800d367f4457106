/** The documentation as a site: `npm run docs` builds it, and fails on dead links. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitepress';

const docs = join(dirname(fileURLToPath(import.meta.url)), '..');

/** Pages of a folder under the text of their first heading. */
const pagesOf = (folder) =>
  readdirSync(join(docs, folder))
    .filter((name) => name.endsWith('.md') && name !== 'index.md')
    .map((name) => ({
      text: /^# (.+)$/m.exec(readFileSync(join(docs, folder, name), 'utf8'))?.[1] ?? name,
      link: `/${folder}/${name.replace(/\.md$/, '')}`,
    }));

export default defineConfig({
  title: 'heed',
  description: 'Align language models with human feedback, in TypeScript',
  cleanUrls: true,
  themeConfig: {
    nav: [
      { text: 'Guide', link: '/guide/cli' },
      { text: 'Methods', link: '/methods/' },
      { text: 'Papers', link: '/papers' },
    ],
    sidebar: [
      { text: 'Guide', items: pagesOf('guide') },
      { text: 'Methods', link: '/methods/', items: pagesOf('methods') },
      { text: 'Decisions', items: pagesOf('decisions') },
    ],
    outline: [2, 3],
    search: { provider: 'local' },
  },
});
