// Validates configurations the way an editor does: YAML by `yaml`, the JSON Schema by Ajv.
//
// Standard input, as JSON: { schema, cases: [{ text, version } or { value, schema }] }, where a
// text is YAML of that version (1.1 or 1.2), and a case's own schema stands for the whole one.
// Standard output, as JSON: for each case the list of what is wrong, "path: message".
"use strict";

const Ajv = require("ajv");
const YAML = require("yaml");

const ajv = new Ajv({ allErrors: true, strict: true, allowUnionTypes: true });
const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
const whole = ajv.compile(input.schema);

function problems({ text, version, value, schema }) {
  const validate = schema === undefined ? whole : ajv.compile(schema);
  const parsed = text === undefined ? value : YAML.parse(text, { version });
  if (validate(parsed)) return [];
  return validate.errors.map((error) => `${error.instancePath}: ${error.message}`);
}

process.stdout.write(JSON.stringify(input.cases.map(problems)));
