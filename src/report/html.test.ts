import { describe, expect, it } from 'vitest';
import { escapeHtml, html, trusted } from './html.ts';

describe('html', () => {
  it('escapes what is put in, in text and in attributes', () => {
    expect(html`<b title="${'" onclick="x'}">${"<i>&'"}</b>`.markup).toBe(
      '<b title="&quot; onclick=&quot;x">&lt;i&gt;&amp;&#39;</b>',
    );
  });

  it('escapes an ampersand of an entity, so that the text reads as it was', () => {
    expect(escapeHtml('&lt;')).toBe('&amp;lt;');
  });

  it('takes markup of its own as it is, joins arrays and leaves out undefined', () => {
    const items = ['<', 2].map((item) => html`<li>${item}</li>`);
    expect(html`<ul>${items}${undefined}${trusted('<hr>')}</ul>`.markup).toBe(
      '<ul><li>&lt;</li><li>2</li><hr></ul>',
    );
  });
});
