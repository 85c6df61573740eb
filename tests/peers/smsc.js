// An SMS centre on the npm library `smpp`: node smsc.js SMPP_PORT CONTROL_PORT PASSWORD
//
// How it treats a number is told beforehand over HTTP:
//   POST /behave   {"<destination>": {status, times, after, silent, id, receipt: {...}, early}}
//     status   the answer to submit_sm, `times` times (default: always), but not to the first `after`
//     silent   no answer at all
//     id       what the message is called in the answer
//     receipt  fields of the deliver_sm that reports on it; "{id}" in its text is the message's
//     early    the receipt goes before the answer
//   POST /deliver  {..., data: hex, udh: hex}   a deliver_sm to whoever is bound
//   POST /drop     break all connections         POST /unbind   end all sessions by the book
//   GET /log?count=N   what happened, once at least N things did
'use strict';
const http = require('http');
const smpp = require('smpp');

const [, , smppPort, controlPort, password] = process.argv;
const sessions = new Set();
const log = [];
let waiting = [];
let behaviour = {};
let counted = 0;

function note(entry) {
  log.push(entry);
  waiting = waiting.filter(({ count, answer }) => (log.length >= count ? (answer(), false) : true));
}

const hex = (value) => (Buffer.isBuffer(value) ? value.toString('hex') : Buffer.from(value || '').toString('hex'));

function report(session, pdu, id, fields) {
  const text = (fields.text || '').replaceAll('{id}', id);
  const parameters = { ...fields };
  delete parameters.text;
  for (const name of Object.keys(parameters)) {
    if (parameters[name] === '{id}') parameters[name] = id;
  }
  session.deliver_sm(
    {
      source_addr: pdu.destination_addr,
      destination_addr: pdu.source_addr,
      esm_class: 4,
      short_message: { message: Buffer.from(text, 'latin1') },
      ...parameters,
    },
    (answer) => note({ event: 'receipt_answered', status: answer.command_status }),
  );
}

const server = smpp.createServer({}, (session) => {
  session.on('error', (error) => note({ event: 'error', error: String(error) }));
  session.on('close', () => sessions.delete(session));
  for (const how of ['bind_transceiver', 'bind_transmitter', 'bind_receiver']) {
    session.on(how, (pdu) => {
      if (behaviour.bind) {
        session.send(pdu.response({ command_status: behaviour.bind }));
        return;
      }
      if (pdu.password !== password) {
        session.send(pdu.response({ command_status: smpp.ESME_RINVPASWD }));
        note({ event: 'refused', system_id: pdu.system_id });
        return;
      }
      session.bound = how;
      sessions.add(session);
      session.send(pdu.response({ system_id: 'SMSC' }));
      note({ event: 'bound', how, system_id: pdu.system_id, system_type: pdu.system_type });
    });
  }
  session.on('enquire_link', (pdu) => {
    if (behaviour.deaf) return;
    session.send(pdu.response());
    if (behaviour.note_enquiries) note({ event: 'enquired' });
  });
  session.on('unbind', (pdu) => {
    session.send(pdu.response());
    note({ event: 'unbound' });
    session.close();
  });
  session.on('submit_sm', (pdu) => {
    const said = pdu.short_message || {};
    const text = said.message === undefined ? said : said.message;
    const wanted = behaviour[pdu.destination_addr] || {};
    note({
      event: 'submitted',
      source: [pdu.source_addr, pdu.source_addr_ton, pdu.source_addr_npi],
      destination: [pdu.destination_addr, pdu.dest_addr_ton, pdu.dest_addr_npi],
      data_coding: pdu.data_coding,
      esm_class: pdu.esm_class,
      registered_delivery: pdu.registered_delivery,
      udh: said.udh ? said.udh.map(hex) : [],
      text: Buffer.isBuffer(text) ? text.toString('latin1') : text,
    });
    if (wanted.silent) return;
    const isFine = wanted.after !== undefined && wanted.after-- > 0;
    if (wanted.status && !isFine && (wanted.times === undefined || wanted.times-- > 0)) {
      session.send(pdu.response({ command_status: wanted.status }));
      return;
    }
    counted += 1;
    const id = wanted.id || `m-${counted}`;
    const answer = () => session.send(pdu.response({ message_id: id }));
    if (!wanted.early) answer();
    if (wanted.receipt) report(session, pdu, id, wanted.receipt);
    if (wanted.early) setTimeout(answer, 100);
  });
});
server.listen(Number(smppPort), '127.0.0.1');

function deliver(asked) {
  const { data, udh, ...fields } = asked;
  for (const session of sessions) {
    if (session.bound === 'bind_transmitter') continue;
    const message = { message: Buffer.from(data || '', 'hex') };
    if (udh) message.udh = Buffer.from(udh, 'hex');
    session.deliver_sm({ short_message: message, ...fields }, (answer) =>
      note({ event: 'delivery_answered', status: answer.command_status }),
    );
    return true;
  }
  return false;
}

http
  .createServer((request, response) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => {
      const url = new URL(request.url, 'http://127.0.0.1');
      const asked = pieces.length ? JSON.parse(Buffer.concat(pieces)) : {};
      const reply = (value) => {
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify(value));
      };
      if (url.pathname === '/log') {
        const count = Number(url.searchParams.get('count') || 0);
        const answer = () => reply(log);
        if (log.length >= count) answer();
        else waiting.push({ count, answer });
      } else if (url.pathname === '/behave') {
        behaviour = asked;
        reply({});
      } else if (url.pathname === '/deliver') {
        reply({ sent: deliver(asked) });
      } else if (url.pathname === '/drop') {
        for (const session of sessions) session.destroy();
        sessions.clear();
        reply({});
      } else if (url.pathname === '/unbind') {
        for (const session of sessions) session.unbind();
        reply({});
      } else if (url.pathname === '/forget') {
        log.length = 0;
        behaviour = {};
        reply({});
      }
    });
  })
  .listen(Number(controlPort), '127.0.0.1', () => console.log('ready'));
