// Shows the OpenAPI file of this server. Texts are set as texts: nothing of the file is ever read as HTML.
'use strict';

(() => {
  const FILE = '/millrace/openapi.json';

  /** An element with its attributes and children; a text is a child too. */
  const make = (name, attributes, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };

  const nameOf = (schema) => schema.$ref.split('/').pop();

  /** What a value is, as one line with links to the objects it is made of. */
  const kind = (schema) => {
    if (schema.$ref) return [make('a', { href: `#${nameOf(schema)}` }, nameOf(schema))];
    if (schema.anyOf) {
      const some = schema.anyOf.filter((one) => one.type !== 'null').flatMap(kind);
      return [...some, ' or null'];
    }
    if (schema.enum) return [schema.enum.join(' | ')];
    if (schema.type === 'array') return ['list of ', ...kind(schema.items)];
    if (schema.pattern) return [`string ${schema.pattern}`];
    return [schema.type];
  };

  const row = (...cells) => make('tr', {}, ...cells.map((cell) => make('td', {}, ...[cell].flat())));

  const part = (title, rows) => (rows.length
    ? [make('h3', {}, title), make('table', {}, make('tbody', {}, ...rows))] : []);

  const contentOf = (part) => Object.entries(part.content ?? {})
    .flatMap(([type, { schema }]) => (schema.$ref ? kind(schema) : [type]));

  const operation = (path, method, it) => {
    const parameters = (it.parameters ?? []).map((one) => row(
      make('code', {}, one.name), `in the ${one.in}`, kind(one.schema), one.description ?? ''));
    const body = it.requestBody ? [row(contentOf(it.requestBody), it.requestBody.required ? 'required' : 'optional')] : [];
    const answers = Object.entries(it.responses).map(([status, answer]) => row(
      make('code', {}, status), answer.description, contentOf(answer)));
    return make('details', { id: it.operationId },
      make('summary', {}, make('span', { class: 'method' }, method), make('code', {}, path),
        make('span', { class: 'about' }, it.summary + (it.security ? '; needs no secret' : ''))),
      make('div', {}, ...part('Parameters', parameters), ...part('Body', body), ...part('Answers', answers)));
  };

  const shape = (name, schema) => {
    const required = new Set(schema.required ?? []);
    const rows = Object.entries(schema.properties).map(([key, value]) => row(
      make('code', {}, key), kind(value), required.has(key) ? '' : 'optional', value.description ?? ''));
    return make('details', { id: name }, make('summary', {}, make('code', {}, name)),
      make('div', {}, make('table', {}, make('tbody', {}, ...rows))));
  };

  const page = (file) => {
    const operations = Object.entries(file.paths).flatMap(([path, methods]) => Object.entries(methods)
      .map(([method, it]) => operation(path, method, it)));
    return [
      make('h1', {}, `${file.info.title} ${file.info.version}: REST API`),
      make('p', {}, file.info.description),
      make('p', {}, `${file.components.securitySchemes.secret.description}, by HTTP Basic. `,
        'As a file: ', make('a', { href: FILE }, FILE)),
      make('h2', {}, 'Calls'), ...operations,
      make('h2', {}, 'Objects'), ...Object.entries(file.components.schemas).map(([name, schema]) => shape(name, schema)),
    ];
  };

  /** A link to something opens it. */
  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target?.tagName === 'DETAILS') {
      target.open = true;
      target.scrollIntoView();
    }
  };

  const main = document.getElementById('page');
  fetch(FILE)
    .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`${answer.status}`))))
    .then((file) => {
      main.replaceChildren(...page(file));
      addEventListener('hashchange', open);
      open();
    })
    .catch((error) => main.replaceChildren(make('p', {}, `${FILE} cannot be had: ${error.message}`)));
})();
