# The block of lipschitz_ofd.py with the taps of a MobileNetV2.
_base_ = './lipschitz_ofd.py'
# The last blocks at strides 4 and 8 and of the two dilated parts, whose outputs the decoder reads. They end in a BN.
stages = [f'backbone.layer{i}' for i in (2, 3, 5, 7)]
decoder = ['decode_head.bottleneck', 'decode_head.c1_bottleneck']
distillation = dict(distiller=dict(student_taps=stages, losses=dict(ofd=dict(student_taps=[*stages, *decoder]))))
