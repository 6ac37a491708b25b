`${process.env.A} ${`${b}`}`; /[/]/g; a ?? b?.c; <div>{x}</div>; @d class E { #p; static {} }
